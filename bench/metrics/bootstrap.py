"""Intervals over patients: images of one patient stand or fall together, so patients are resampled, not images.

Within each fold, patients of each class are drawn on their own (balanced accuracy stays defined), n_h - 1 of n_h with
weight n_h / (n_h - 1) each (Rao & Wu 1988): drawing n_h of n_h would understate the variance by 1/n_h, half of it where
a fold has two patients of a class. A patient that is alone in its class and fold cannot be resampled; ``lone`` counts
them, and the interval leaves their share of the variance out.

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
    patient_units,
)

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
    """Value of the mean over folds and its percentile interval, NaN where it cannot be told.

    That is: nobody to resample, no spread, or a statistic that is undefined in some resample (precision, often).
    ``patients`` counts them, ``lone`` those that are alone in their class and fold (see the module).
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
) -> Interval:
    """Return the mean over folds of a statistic with its 1 - alpha interval over patients.

    ``statistic`` is a name of ``STATISTICS`` or a function of weights. With a
    ``reference`` (the same folds and images, another arm) it is of the paired difference, arm minus reference.
    ``per_patient`` scores each patient's mean probability. Patients of one repeat are in disjoint test folds and drawn
    independently; repeats test the same patients again, so they count as moving together and the interval's ends are
    the means of the repeats' ends: repeats cannot buy what only patients can. Raises ``DataError`` when folds are
    empty or the reference is of other images, ``ConfigError`` for an unknown name.
    """
    function = _statistic(statistic)
    if not folds or (reference is not None and len(reference) != len(folds)):
        raise DataError(f"expected one fold or more, and as many of the reference; got {len(folds)}")
    rng = np.random.default_rng(seed)
    by_repeat: dict[int, list[tuple[float, Floats]]] = {}
    patients, lone = set(), 0
    for i, fold in enumerate(folds):
        pair = [fold] if reference is None else [fold, reference[i]]
        arms = [_units(f, per_patient) for f in pair]
        truth, _, unit, labels = arms[0]
        if any(not (np.array_equal(a[0], truth) and np.array_equal(a[2], unit)) for a in arms[1:]):
            raise DataError(f"fold {i} of the reference has other images or patients: arms are paired image by image")
        weights, alone = patient_weights(labels, resamples, rng)
        weights = np.concatenate([np.ones((1, len(labels))), weights])[:, unit]  # row 0: the value itself
        values = [function(weights, truth, prob) for _, prob, _, _ in arms]
        value = values[0] if reference is None else values[0] - values[1]
        by_repeat.setdefault(fold.repeat, []).append((float(value[0]), value[1:]))
        patients |= {str(g) for g in fold.groups}
        lone += alone
    point = float(np.mean([v for pairs in by_repeat.values() for v, _ in pairs]))
    draws = np.mean([np.sort(np.mean([d for _, d in pairs], axis=0)) for pairs in by_repeat.values()], axis=0)
    if np.isnan(draws).any() or np.ptp(draws) < 1e-12:
        return Interval(point, float("nan"), float("nan"), len(patients), lone)
    low, high = np.quantile(draws, [alpha / 2, 1 - alpha / 2])
    return Interval(point, float(low), float(high), len(patients), lone)


def patient_weights(labels: Ints, resamples: int, rng: np.random.Generator) -> tuple[Floats, int]:
    """Return weights float64 [B, P] of patients by their labels [P], and how many are alone in their class."""
    weights, lone = np.ones((resamples, len(labels))), 0
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        n = len(members)
        if n == 1:
            lone += 1
        else:
            weights[:, members] = rng.multinomial(n - 1, np.full(n, 1 / n), size=resamples) * (n / (n - 1))
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
    """P(positive above negative) + P(equal) / 2: each positive counts the negatives below it, and half those beside."""
    values, place = np.unique(score, return_inverse=True)
    at = np.eye(len(values))[place]  # [N, V]: sums weights by score
    pos, neg = (weights * positive) @ at, (weights * ~positive) @ at
    below = np.cumsum(neg, axis=1) - neg / 2
    total = pos.sum(axis=1) * neg.sum(axis=1)
    return np.divide((pos * below).sum(axis=1), total, out=np.full(len(total), np.nan), where=total > 0)


def _by_confusion(name: str) -> Statistic:
    return lambda w, y, p: confusion_metrics(weighted_confusion(w, y, p))[name]


STATISTICS: dict[str, Statistic] = {n: _by_confusion(n) for n in CONFUSION_METRICS} | {"auroc": weighted_auroc}


def _statistic(statistic: str | Statistic) -> Statistic:
    if not isinstance(statistic, str):
        return statistic
    if statistic not in STATISTICS:
        raise ConfigError(f"no interval for {statistic!r}; valid: {', '.join(STATISTICS)}")
    return STATISTICS[statistic]


def _units(fold: ScoredFold, per_patient: bool) -> tuple[Ints, Floats, Ints, Ints]:
    """Return y_true [N], y_prob [N, C], the unit of each row [N] and the label of each unit [P]."""
    truth, prob = check_arrays(fold.y_true, fold.y_prob, fold.groups)
    if per_patient:
        labels, mean = patient_predictions(truth, prob, fold.groups)
        return labels, mean, np.arange(len(labels)), labels
    unit, labels = patient_units(truth, fold.groups)
    return truth, prob, unit, labels
