"""Tests for k-fold and hold-out: one data set used whole, so training sets overlap and patients are tested and trained.

``components_test`` decides the word for k-fold. The mean over r repeats of k folds varies through

    lasting (1 + SHARED_TRAINING) / G + passing / (r G) + run / (k r)

*lasting*: what a patient's difference keeps from repeat to repeat; *passing*: what it does not; *run*: what a training
adds to all patients that it tests (``bench.stats.planning``). All three are estimated from the contributions of
patients. The variance over patients is enough for a statement on *these* training sets (Bayle, Bayle, Janson & Mackey
2020, "Cross-validation confidence intervals for test error", NeurIPS 33). Other data sets of this kind differ also by
what all overlapping training sets share, which one data set cannot show (Bengio & Grandvalet 2004);
``SHARED_TRAINING`` is its measured size.

``resampled_test`` is Nadeau & Bengio's (2003), from one score a pair: the test for hold-out, and beside the other one.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from bench.errors import ConfigError, DataError
from bench.stats.estimate import NAN, Estimate, t_estimate
from bench.stats.inference import resampled_error
from bench.stats.planning import pair_ratio

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

COMPONENTS = "components test (patients, runs)"
RESAMPLED = "corrected resampled t test"
NOTE = "Training sets overlap: a claim beyond this data set rests on an assumed share of variance."
HOLDOUT_NOTE = "Hold-outs share patients: claims without an effect reach 6 % where arms learn from different features."

# Variance that overlapping training sets share, as a share of the lasting part. Measured with linear discriminants on
# 24 + 58 patients, as what the other parts lack of the variance between data sets: about 0.4 where two arms learn from
# disjoint or half-shared features of equal worth, 0.2 with one fixed bank of noise features, 0 with noise drawn anew.
# Learners that overfit (40 columns, no penalty) need 0.6 to 1: with 0.4 they claim an effect in 6 to 8 % of 5 x 3.
SHARED_TRAINING = 0.4


def components_test(differences: npt.ArrayLike, fold: npt.ArrayLike, alpha: float = 0.05) -> Estimate:
    """Return the components test of a mean difference over complete repeats of k-fold.

    ``differences`` float [repeats, G]: contributions of the arm minus those of the reference, each repeat scored on all
    G test groups together (``endpoints``; > 0 is better). ``fold`` int [repeats, G]: the fold that tests a group. With
    one repeat lasting and passing parts cannot be told apart, and all counts as lasting. NaN without variance. Raises
    ``DataError`` for shapes that differ, values that are not finite, or a repeat with one fold.
    """
    d, of = np.asarray(differences, dtype=np.float64), np.asarray(fold)
    if d.ndim != 2 or d.shape != of.shape or d.shape[1] < 3:
        raise DataError(f"got differences {d.shape} and folds {of.shape}; expected both [repeats, G], G of at least 3")
    if not np.isfinite(d).all():
        raise DataError("a difference is not finite; leave out incomplete repeats and undefined endpoints")
    places = [np.unique(row, return_inverse=True)[1] for row in of]
    if min(int(p.max()) for p in places) < 1:
        raise DataError("a repeat has one fold; expected at least two")
    r, g = d.shape
    pairs = sum(int(p.max()) + 1 for p in places)
    patients = float(d.mean(axis=0).var(ddof=1)) / g  # lasting / G + passing / (r G)
    lasting = _lasting(d) / g if r > 1 else patients
    patients += SHARED_TRAINING * min(max(lasting, 0.0), patients)
    between, within, dof_between, dof_within = _fold_mean_squares(d, places)
    run = max(between - within, 0.0) / (r * g)
    error = math.sqrt(patients + run)
    spread = patients**2 / (g - 1)
    if run > 0:
        spread += (between**2 / dof_between + within**2 / dof_within) / (r * g) ** 2
    dof = (patients + run) ** 2 / spread if spread > 0 else NAN
    return t_estimate(COMPONENTS, float(d.mean()), error, dof, pairs, g, alpha, NOTE)


def pair_means(differences: npt.ArrayLike, fold: npt.ArrayLike) -> Floats:
    """Return the mean contribution of each fold x repeat, float64 [J], from arrays as for ``components_test``."""
    d, of = np.asarray(differences, dtype=np.float64), np.asarray(fold)
    return np.array([d[i][of[i] == k].mean() for i in range(len(d)) for k in np.unique(of[i])])


def resampled_test(
    per_pair: npt.ArrayLike, test_train_ratio: float, protocol: str = "kfold", repeats: int = 1, alpha: float = 0.05
) -> Estimate:
    """Return the corrected resampled t test (Nadeau & Bengio 2003, eq. 9) of J paired differences of a score.

    The variance of the mean is s^2 (1/J + ratio), with J - 1 degrees of freedom. ``test_train_ratio`` is n_test /
    n_train (0.25 for 5 folds). It is used whole for hold-out and for repeats; for one repeat of k-fold at half the
    correlation that it stands for, since no patient is then tested twice. Where a patient's response to an arm lasts,
    half of it claims an effect in 7 to 12 % of repeated designs without one. NaN with fewer than 2 differences or
    without variance. Raises ``ConfigError`` for a negative ratio or an unknown protocol.
    """
    if protocol not in ("kfold", "holdout"):
        raise ConfigError(f"got protocol {protocol!r}; expected kfold or holdout")
    halved = protocol == "kfold" and repeats == 1
    ratio = pair_ratio(test_train_ratio, 0.5) if halved else test_train_ratio
    mean, error, dof = resampled_error(per_pair, ratio)
    note = HOLDOUT_NOTE if protocol == "holdout" else NOTE
    return t_estimate(RESAMPLED, mean, error, dof, dof + 1, 0, alpha, note)


def _lasting(d: Floats) -> float:
    """Return the mean covariance over groups of two different repeats."""
    r, g = d.shape
    centred = d - d.mean(axis=1, keepdims=True)
    every, own = float((centred.sum(axis=0) ** 2).sum()), float((centred**2).sum())
    return (every - own) / (r * (r - 1) * (g - 1))


def _fold_mean_squares(d: Floats, places: list[Ints]) -> tuple[float, float, int, int]:
    """Return mean squares between and within folds, pooled over repeats, and their degrees of freedom."""
    between = within = 0.0
    folds = 0
    for row, place in zip(d, places, strict=True):
        size = np.bincount(place)
        mean = np.bincount(place, weights=row) / size
        between += float((size * (mean - row.mean()) ** 2).sum())
        within += float(((row - mean[place]) ** 2).sum())
        folds += len(size) - 1
    rest = d.size - len(d) - folds
    return between / folds, within / rest if rest else 0.0, folds, max(rest, 1)
