"""Intervals over patients: images of one patient are dependent, so patients are resampled, not images.

Within each fold, patients of each class are drawn separately (so balanced accuracy stays defined), n_h - 1 of n_h with
weight n_h / (n_h - 1) each (Rao & Wu 1988): drawing n_h of n_h would understate the variance by 1/n_h, which is half of
it for two patients of a class. A patient with images of several classes is still one unit, and is drawn among patients
with the same classes (``units.group_strata``). A patient who is the only one of a class in a fold cannot be resampled;
``lone`` counts such patients, and the interval does not include their share of the variance.

A statistic takes weights [B, N] and returns a value for each of the B resamples, so that all are computed at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bench.errors import ConfigError, DataError
from bench.metrics.classification import (
    CONFUSION_METRICS,
    check_arrays,
    confusion_metrics,
    patient_predictions,
    per_class_recall,
)
from bench.metrics.units import group_places, group_strata

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Statistic = Callable[[Floats, Ints, Floats], Floats]  # weights [B, N], y_true [N], y_prob [N, C] -> [B]
RESAMPLES = 1000


@dataclass(frozen=True)
class ScoredFold:
    """One fold's test predictions: y_true int [N], y_prob float [N, C], groups [N] (patients)."""

    y_true: npt.ArrayLike
    y_prob: npt.ArrayLike
    groups: Sequence[object]
    repeat: int = 0


@dataclass(frozen=True)
class Interval:
    """Value of the mean over folds and its percentile interval, NaN if undefined.

    It is undefined without patients to resample, without variance, or if the statistic is undefined in some resample
    (precision, often). ``patients`` counts the patients, ``lone`` those who are the only one of their class and fold
    (see the module).
    """

    value: float
    low: float
    high: float
    patients: int
    lone: int


def cluster_bootstrap_ci(
    folds: Sequence[ScoredFold],
    statistic: str | Statistic = "balanced_accuracy",
    reference: Sequence[ScoredFold] | None = None,
    per_patient: bool = False,
    resamples: int = RESAMPLES,
    alpha: float = 0.05,
    seed: int = 0,
    positive: int = 1,
) -> Interval:
    """Return the mean over folds of a statistic with its 1 - alpha interval over patients.

    ``statistic`` is a name of ``STATISTICS`` or a function of weights. With a ``reference`` (the same folds and images,
    another arm) it is the statistic of the paired difference, arm minus reference. ``per_patient`` scores each
    patient's mean probability, and ``positive`` is the index of the positive one of two classes (for sensitivity,
    precision and similar). Patients of one repeat are in disjoint test folds and drawn independently. Repeats test the
    same patients again, so they are treated as fully correlated, and the interval's ends are the means of the repeats'
    ends: more repeats do not replace more patients. Raises ``DataError`` when folds are empty, the reference is of
    other images, or a patient to be scored once has images of several classes; ``ConfigError`` for an unknown name.
    """
    if isinstance(statistic, str) and statistic not in STATISTICS:
        raise ConfigError(f"no interval for {statistic!r}; valid: {', '.join(STATISTICS)}")
    if not folds or (reference is not None and len(reference) != len(folds)):
        raise DataError(f"expected one fold or more, and as many of the reference; got {len(folds)}")
    rng = np.random.default_rng(seed)
    by_repeat: dict[int, list[Floats]] = {}
    patients, lone = set(), 0
    for i, fold in enumerate(folds):
        truth, prob = check_arrays(fold.y_true, fold.y_prob, fold.groups)
        sample = PatientSample(truth, fold.groups, resamples, rng)
        draws = sample.draws(prob, statistic, per_patient, positive)
        if reference is not None:
            other_truth, other_prob = check_arrays(reference[i].y_true, reference[i].y_prob, reference[i].groups)
            if not sample.fits(other_truth, reference[i].groups):
                raise DataError(f"fold {i} of the reference has other images or patients; arms are paired by image")
            draws = draws - sample.draws(other_prob, statistic, per_patient, positive)
        by_repeat.setdefault(fold.repeat, []).append(draws)
        patients |= {str(g) for g in fold.groups}
        lone += sample.lone
    return Interval(*percentile_interval([np.mean(d, axis=0) for d in by_repeat.values()], alpha), len(patients), lone)


def percentile_interval(repeats: Sequence[Floats], alpha: float = 0.05) -> tuple[float, float, float]:
    """Return value, low and high from each repeat's mean over folds, [1 + B]: the value, then its resamples.

    The ends are the means of the repeats' ends (see ``cluster_bootstrap_ci``); NaN if they are undefined.
    """
    point = float(np.mean([draws[0] for draws in repeats]))
    spread = np.mean([np.sort(draws[1:]) for draws in repeats], axis=0)
    if np.isnan(spread).any() or np.ptp(spread) < 1e-12:
        return point, float("nan"), float("nan")
    low, high = np.quantile(spread, [alpha / 2, 1 - alpha / 2])
    return point, float(low), float(high)


class PatientSample:
    """The resamples of one fold's patients: drawn once, used for every arm that is tested on the same images.

    ``y_true`` int64 [N] and ``groups`` [N] are the images' classes and patients; ``lone`` counts patients that are
    alone in their stratum.
    """

    def __init__(self, y_true: Ints, groups: Sequence[object], resamples: int, rng: np.random.Generator) -> None:
        self._truth, self._groups = y_true, groups
        self._unit = group_places(groups)  # index of each image's patient, [N]
        weights, self.lone = patient_weights(group_strata(y_true, groups), resamples, rng)
        self._weights = np.concatenate([np.ones((1, weights.shape[1])), weights])  # row 0: no resampling

    def fits(self, y_true: Ints, groups: Sequence[object]) -> bool:
        """Return whether these are the images' classes and patients."""
        return np.array_equal(self._truth, y_true) and list(self._groups) == list(groups)

    def draws(self, y_prob: Floats, statistic: str | Statistic, per_patient: bool, positive: int = 1) -> Floats:
        """Return the statistic of y_prob [N, C], and that of every resample: [1 + B].

        Raises ``DataError`` with ``per_patient`` when a patient has images of several classes.
        """
        c = y_prob.shape[1]
        truth, unit = self._truth, self._unit
        if per_patient:
            truth, y_prob = patient_predictions(truth, y_prob, self._groups)
            unit = np.arange(len(truth))
        if (
            statistic in CONFUSION_METRICS
        ):  # images of a patient share its weight: sum them first, then weight P values instead of N
            cell = unit * c * c + truth * c + y_prob.argmax(axis=1)
            counts = np.bincount(cell, minlength=self._weights.shape[1] * c * c).reshape(-1, c * c).astype(np.float64)
            return _of_confusion(str(statistic), (self._weights @ counts).reshape(-1, c, c), positive)
        function = STATISTICS[statistic] if isinstance(statistic, str) else statistic
        return function(self._weights[:, unit], truth, y_prob)


def patient_weights(strata: Ints, resamples: int, rng: np.random.Generator) -> tuple[Floats, int]:
    """Return weights float64 [B, P] of patients by their strata [P], and how many are alone in theirs."""
    weights, lone = np.ones((resamples, len(strata))), 0
    for stratum in np.unique(strata):
        rows = np.flatnonzero(strata == stratum)
        n = len(rows)
        if n == 1:
            lone += 1
        else:
            weights[:, rows] = rng.multinomial(n - 1, np.full(n, 1 / n), size=resamples) * (n / (n - 1))
    return weights, lone


def weighted_confusion(weights: Floats, y_true: Ints, y_prob: Floats) -> Floats:
    """Return confusion matrices [B, C, C] of weighted images: rows are the truth, columns the prediction."""
    c = y_prob.shape[1]
    cell = np.eye(c * c)[y_true * c + y_prob.argmax(axis=1)]
    return (weights @ cell).reshape(-1, c, c)


def weighted_auroc(weights: Floats, y_true: Ints, y_prob: Floats) -> Floats:
    """Macro one-against-rest AUROC, [B], class 1 alone for two classes; ties count half; NaN for an absent class."""
    c = y_prob.shape[1]
    return np.mean([_auroc(weights, y_true == k, y_prob[:, k]) for k in ([1] if c == 2 else range(c))], axis=0)


def _auroc(weights: Floats, positive: npt.NDArray[np.bool_], score: Floats) -> Floats:
    """P(positive above negative) + P(equal) / 2: each positive counts negatives below it, and half of equal ones."""
    values, place = np.unique(score, return_inverse=True)
    at = np.eye(len(values))[place]  # [N, V]: sums weights by score
    pos, neg = (weights * positive) @ at, (weights * ~positive) @ at
    below = np.cumsum(neg, axis=1) - neg / 2
    total = pos.sum(axis=1) * neg.sum(axis=1)
    return np.divide((pos * below).sum(axis=1), total, out=np.full(len(total), np.nan), where=total > 0)


def _of_confusion(name: str, matrices: Floats, positive: int = 1) -> Floats:
    if name == "balanced_accuracy":  # needed by every report; faster without the other six
        return per_class_recall(matrices).mean(axis=-1)
    return confusion_metrics(matrices, positive)[name]


def _by_confusion(name: str) -> Statistic:
    return lambda w, y, p: _of_confusion(name, weighted_confusion(w, y, p))


STATISTICS: dict[str, Statistic] = {n: _by_confusion(n) for n in CONFUSION_METRICS} | {"auroc": weighted_auroc}


def pigeonhole_weights(sets: int, groups: int, draws: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Return weights of training sets [B, R] and of test groups [B, G], each row summing to 1 (Owen 2007).

    Both are resampled, independently: a cell's weight is the product. Of n, n - 1 are drawn (Rao & Wu 1988), which
    gives the variance of a mean its divisor n - 1; one set has weight 1.
    """

    def drawn(n: int) -> Floats:
        if n == 1:
            return np.ones((draws, 1))
        return rng.multinomial(n - 1, np.full(n, 1 / n), size=draws) / (n - 1)

    return drawn(sets), drawn(groups)
