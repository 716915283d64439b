"""Primary endpoints and what each group contributes to them; arrays only.

A score of all test groups is written as the mean of G *contributions*, one a group (patient), so that every test of
``bench.stats`` works on contributions and is the same for each endpoint. For a mean over groups they are the groups'
own values. For AUROC they are built from DeLong's structural components (DeLong, DeLong & Clarke-Pearson 1988,
Biometrics 44): var(contributions) / G is DeLong's variance, and for groups with several images Obuchowski's (1997,
Biometrics 53) up to a factor near 1 of its covariance term. Differences of two arms are differences of contributions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np
import numpy.typing as npt

from bench.errors import ConfigError, DataError, nearest
from bench.metrics.calibration import SMALLEST_PROBABILITY

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Direction = Literal["higher", "lower"]

# Which direction is better.
ENDPOINTS: Mapping[str, Direction] = MappingProxyType(
    {"auroc": "higher", "log_loss": "lower", "brier": "lower", "balanced_accuracy": "higher"}
)


@dataclass(frozen=True, eq=False)
class Scored:
    """A score of G groups and their contributions, float64 [G], whose mean is the score.

    NaN where the endpoint is undefined: ``auroc`` and ``balanced_accuracy`` when a class has no unit.
    """

    score: float
    contributions: Floats


def score_units(endpoint: str, y_true: npt.ArrayLike, y_prob: npt.ArrayLike, group: npt.ArrayLike) -> Scored:
    """Return an endpoint of U test units with the contributions of their G groups.

    A unit is a patient (with the mean probability of its images) or, where patients have images of several classes, an
    image. ``y_true`` int [U] in 0..C-1, ``y_prob`` float [U, C] with rows that sum to 1, ``group`` int [U] in 0..G-1,
    each at least once. ``auroc``: ties count half; for C > 2 the mean over classes of one against the rest.
    ``log_loss``: natural logarithm, probabilities of at least ``SMALLEST_PROBABILITY``. ``brier``: in [0, 1] for two
    classes, [0, 2] for more (as ``bench.metrics.calibration``). ``balanced_accuracy``: mean recall, ties to the lower
    class.
    Raises ``ConfigError`` for an unknown endpoint and ``DataError`` for arrays that do not fit.
    """
    if endpoint not in ENDPOINTS:
        raise ConfigError(f"endpoint {endpoint!r} does not exist; {nearest(endpoint, ENDPOINTS)}")
    truth, prob, of = _check(y_true, y_prob, group)
    groups, c = int(of.max()) + 1, prob.shape[1]
    own = np.arange(len(truth))
    if endpoint == "auroc":
        classes = [1] if c == 2 else range(c)
        parts = [_auroc(truth == k, prob[:, k], of, groups) for k in classes]
    elif endpoint == "balanced_accuracy":
        right = (prob.argmax(axis=1) == truth).astype(np.float64)
        parts = [_means([(truth == k, right)], of, groups) for k in range(c)]
    else:
        every = np.ones(len(truth), dtype=bool)
        if endpoint == "log_loss":
            loss = -np.log(np.maximum(prob[own, truth], SMALLEST_PROBABILITY))
        else:
            loss = ((prob - np.eye(c)[truth]) ** 2).sum(axis=1) / (2 if c == 2 else 1)
        parts = [_means([(every, loss)], of, groups)]
    contributions = np.mean(parts, axis=0)
    return Scored(float(contributions.mean()), contributions)


def oriented(endpoint: str, arm: npt.ArrayLike, reference: npt.ArrayLike) -> Floats:
    """Return arm - reference of scores or contributions of any shape, with the sign that makes > 0 better."""
    sign = 1.0 if ENDPOINTS[endpoint] == "higher" else -1.0
    return sign * (np.asarray(arm, dtype=np.float64) - np.asarray(reference, dtype=np.float64))


def chance_level(endpoint: str, y_true: npt.ArrayLike, classes: int) -> float:
    """Return the score of a constant prediction: 0.5, 1 / classes, or the loss of predicting the shares of classes."""
    if endpoint == "auroc":
        return 0.5
    if endpoint == "balanced_accuracy":
        return 1 / classes
    truth = np.asarray(y_true)
    shares = np.bincount(truth, minlength=classes) / len(truth)
    return score_units(endpoint, truth, np.tile(shares, (len(truth), 1)), np.arange(len(truth))).score


def _check(y_true: npt.ArrayLike, y_prob: npt.ArrayLike, group: npt.ArrayLike) -> tuple[Ints, Floats, Ints]:
    truth, prob, of = np.asarray(y_true), np.asarray(y_prob, dtype=np.float64), np.asarray(group)
    if prob.ndim != 2 or prob.shape[1] < 2 or truth.shape != prob.shape[:1] or of.shape != truth.shape or not len(of):
        raise DataError(
            f"got shapes {truth.shape}, {prob.shape} and {of.shape}; expected y_true [U], y_prob [U, C] with C of at "
            "least 2, and group [U], U of at least 1"
        )
    if not np.isfinite(prob).all() or truth.min() < 0 or truth.max() >= prob.shape[1]:
        raise DataError(f"expected finite y_prob and y_true in 0..{prob.shape[1] - 1}")
    if of.min() < 0 or np.bincount(of).min() == 0:
        raise DataError("expected groups numbered 0..G-1, each with at least one unit; number the scored groups anew")
    return truth.astype(np.int64), prob, of.astype(np.int64)


def _auroc(positive: npt.NDArray[np.bool_], score: Floats, of: Ints, groups: int) -> Floats:
    """DeLong's components: the share of negatives below each positive, and of positives above each negative."""
    up, down = np.sort(score[positive]), np.sort(score[~positive])
    if not len(up) or not len(down):
        return np.full(groups, np.nan)
    component = np.empty(len(score))
    component[positive] = _share_below(down, score[positive])
    component[~positive] = 1 - _share_below(up, score[~positive])
    return _means([(positive, component), (~positive, component)], of, groups)


def _share_below(ordered: Floats, at: Floats) -> Floats:
    """Return the share of the sorted values that is below each ``at``; ties count half."""
    return (np.searchsorted(ordered, at, "left") + np.searchsorted(ordered, at, "right")) / (2 * len(ordered))


def _means(parts: list[tuple[npt.NDArray[np.bool_], Floats]], of: Ints, groups: int) -> Floats:
    """Return contributions to the mean of ``value`` [U] over the chosen units; several parts have the same mean.

    Each part's deviations from it add up. They are those of the linearised ratio mean (Cochran 1977, section 2.11),
    scaled so that their variance has the divisor I - 1 of the I groups with such a unit, instead of G - 1.
    """
    mean, deviation = 0.0, np.zeros(groups)
    for chosen, value in parts:
        n = int(chosen.sum())
        if not n:
            return np.full(groups, np.nan)
        mean = float(value[chosen].mean())
        here = of[chosen]
        present = int((np.bincount(here, minlength=groups) > 0).sum())
        scale = np.sqrt(present / (present - 1) * (groups - 1) / groups) if present > 1 else 1.0
        deviation += scale * groups / n * np.bincount(here, weights=value[chosen] - mean, minlength=groups)
    return mean + deviation
