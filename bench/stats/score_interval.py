"""The interval of one arm's score over test patients, pooled over folds.

Each repeat of k-fold tests every patient once, so its patients are pooled over folds and counted by class: no fold
needs two patients of a class. The methods keep their coverage with few patients, and near 0 and 1, where bootstrap
percentiles do not (67 % instead of 95 % with 6 + 12 patients):

- balanced accuracy: the Agresti-Coull (1998) interval of each class's recall, combined as Zou & Donner (2008, Stat Med
  27);
- AUROC: Newcombe's (2006, Stat Med 25) method 5, the Hanley-McNeil variance at the interval's ends; for more classes,
  the mean of one-against-rest intervals, narrowed by what averaging gains;
- log loss and Brier: t interval of the logarithm of the mean, variances by class.

Groups with several units count as their effective number, and all as fewer, because they train each other's models
(``CORRELATED``). Measured coverage of 95 % intervals with linear discriminants, 6 + 12, 10 + 10, 20 + 20 and 24 + 58
patients in 3 to 10 folds: 93 to 97 %; 90 to 94 % where the discriminants overfit (12 columns, few patients). Repeats
test the same patients again: ``over_repeats``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from bench.stats.clustered import design_effect
from bench.stats.endpoints import score_units
from bench.stats.estimate import NAN

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


# Variance of a score of k-fold over that of as many independent patients: a + b / m, m groups in the smallest class.
# Each patient is tested by one model and trains the others, so errors are correlated over folds, the more the fewer
# patients there are (Bates, Hastie & Tibshirani 2024, JASA 119). Measured with linear discriminants, 3 to 10 folds.
CORRELATED = {"auroc": (1.2, 1.8), "balanced_accuracy": (1.1, 1.5), "brier": (1.1, 4.0), "log_loss": (1.15, 6.5)}


class ScoreInterval(NamedTuple):
    """A score and its 1 - alpha interval; NaN if undefined."""

    score: float
    low: float
    high: float


def score_interval(
    endpoint: str, y_true: npt.ArrayLike, y_prob: npt.ArrayLike, group: npt.ArrayLike, alpha: float = 0.05
) -> ScoreInterval:
    """Return the score of all test units of one repeat with its interval over groups.

    Arrays and errors as ``endpoints.score_units``. The interval is for the same models on other patients with these
    shares of classes; for one hold-out it is wider than needed. Undefined for a class without units, and for losses of
    fewer than two groups.
    """
    scored = score_units(endpoint, y_true, y_prob, group)
    truth, prob, of = np.asarray(y_true), np.asarray(y_prob, dtype=np.float64), np.asarray(group)
    if math.isnan(scored.score):
        return ScoreInterval(NAN, NAN, NAN)
    smallest = min(len(np.unique(of[truth == k])) for k in np.unique(truth))
    a, b = CORRELATED[endpoint]
    factor = a + b / smallest
    if endpoint == "balanced_accuracy":
        return _recalls(truth, prob.argmax(axis=1) == truth, of, prob.shape[1], factor, alpha)
    if endpoint == "auroc":
        return _aurocs(scored.score, scored.contributions, truth, prob, of, factor, alpha)
    return _loss(scored.contributions, truth, of, factor, alpha)


def over_repeats(intervals: Sequence[ScoreInterval]) -> ScoreInterval:
    """Return the mean score of repeats with the mean of their ends: more repeats do not replace more patients."""
    if not intervals:
        return ScoreInterval(NAN, NAN, NAN)
    return ScoreInterval(*(float(x) for x in np.mean(np.array(intervals, dtype=np.float64), axis=0)))


def _recalls(
    truth: Ints, right: npt.NDArray[np.bool_], of: Ints, classes: int, factor: float, alpha: float
) -> ScoreInterval:
    recall, below, above = [], 0.0, 0.0
    for k in range(classes):
        here = truth == k
        sizes = np.bincount(of[here])
        hits = np.bincount(of[here], weights=right[here])[sizes > 0]
        share = float(hits.sum() / here.sum())
        effect = design_effect(hits, sizes[sizes > 0]) * factor
        low, high = agresti_coull(share, float(here.sum()) / effect, alpha)
        recall.append(share)
        below, above = below + (share - low) ** 2, above + (high - share) ** 2
    mean = float(np.mean(recall))
    return ScoreInterval(mean, mean - math.sqrt(below) / classes, mean + math.sqrt(above) / classes)


def agresti_coull(share: float, trials: float, alpha: float = 0.05) -> tuple[float, float]:
    """Return the Agresti-Coull (1998) interval of a proportion, within [0, 1]; ``trials`` may be effective."""
    z2 = NormalDist().inv_cdf(1 - alpha / 2) ** 2
    middle = (share * trials + z2 / 2) / (trials + z2)
    half = math.sqrt(z2 * middle * (1 - middle) / (trials + z2))
    return max(0.0, middle - half), min(1.0, middle + half)


def _aurocs(
    score: float, macro: Floats, truth: Ints, prob: Floats, of: Ints, factor: float, alpha: float
) -> ScoreInterval:
    c, groups = prob.shape[1], len(macro)
    classes = [1] if c == 2 else list(range(c))
    ends, spread = [], []
    for k in classes:
        one = np.stack([1 - prob[:, k], prob[:, k]], axis=1)
        positive = (truth == k).astype(np.int64)
        clustered = score_units("auroc", positive, one, of)
        variance = float(clustered.contributions.var()) / groups
        share = 1.0
        if groups < len(truth):
            alone = score_units("auroc", positive, one, np.arange(len(truth))).contributions.var() / len(truth)
            fewest = min(len(np.unique(of[truth == k])), len(np.unique(of[truth != k])))
            least = fewest / min(int(positive.sum()), len(truth) - int(positive.sum()))
            share = min(1.0, max(least, float(alone) / variance)) if variance > 0 else least
        share /= factor
        m, n = share * positive.sum(), share * (len(truth) - positive.sum())
        low, high = newcombe_auroc(clustered.score, m, n, alpha)
        ends.append((clustered.score - low, high - clustered.score))
        spread.append(math.sqrt(variance))
    below, above = np.mean(ends, axis=0)
    total = float(np.mean(spread))
    gained = float(macro.std()) / math.sqrt(groups) / total if total > 0 else 1.0
    return ScoreInterval(score, max(0.0, score - gained * below), min(1.0, score + gained * above))


def newcombe_auroc(auroc: float, positives: float, negatives: float, alpha: float = 0.05) -> tuple[float, float]:
    """Return Newcombe's (2006) method 5 interval of an AUROC, within [0, 1].

    The ends are the values t with abs(auroc - t) = z sqrt(V(t)), V(t) = t (1 - t) (1 + N (1 - t) / (2 - t) + N t / (1 +
    t)) / (m n) with N = (m + n) / 2 - 1 (Hanley & McNeil 1982, for exponential scores and groups of equal size). It is
    defined for an AUROC of 1 too.
    """
    from scipy.optimize import brentq

    z, more = NormalDist().inv_cdf(1 - alpha / 2), (positives + negatives) / 2 - 1

    def excess(t: float) -> float:
        variance = t * (1 - t) * (1 + more * (1 - t) / (2 - t) + more * t / (1 + t)) / (positives * negatives)
        return (auroc - t) ** 2 - z * z * max(variance, 0.0)

    low = float(brentq(excess, 0.0, auroc)) if auroc > 0 else 0.0
    high = float(brentq(excess, auroc, 1.0)) if auroc < 1 else 1.0
    if auroc == 1:
        low = float(brentq(excess, 0.0, 1 - 1e-9))
    if auroc == 0:
        high = float(brentq(excess, 1e-9, 1.0))
    return low, high


def _loss(contributions: Floats, truth: Ints, of: Ints, factor: float, alpha: float) -> ScoreInterval:
    """Return exp of the t interval of log(mean); variance within classes, if each group has one class."""
    from scipy.special import stdtrit

    mean, g = float(contributions.mean()), len(contributions)
    label = np.full(g, -1)
    label[of] = truth
    if (label[of] != truth).any():
        label[:] = 0  # groups of several classes are not stratified
    parts = [contributions[label == k] for k in np.unique(label)]
    parts = parts if min(len(p) for p in parts) > 1 else [contributions]
    if len(parts[0]) < 2 or not mean > 0:
        return ScoreInterval(mean, NAN, NAN)
    variances = np.array([len(p) * p.var(ddof=1) for p in parts]) / g**2
    dof = variances.sum() ** 2 / sum(v**2 / (len(p) - 1) for v, p in zip(variances, parts, strict=True) if v > 0)
    half = float(stdtrit(dof, 1 - alpha / 2)) * math.sqrt(factor * variances.sum()) / mean
    return ScoreInterval(mean, mean * math.exp(-half), mean * math.exp(half))
