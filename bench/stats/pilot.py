"""Variance components of a paired difference, estimated from a pilot's predictions for use in ``planning``."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from bench.errors import DataError
from bench.stats.planning import NAN, Components

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


def estimate_components(
    arm: npt.ArrayLike, reference: npt.ArrayLike, labels: npt.ArrayLike, folds: npt.ArrayLike
) -> Components:
    """Return the variance components of one comparison from its patients, by the method of moments.

    ``arm`` and ``reference`` float [R, P]: 1 if a patient is classified correctly, 0 if not, NaN if the repeat does not
    test the patient; ``labels`` int [P]; ``folds`` int [R, P], the fold that tests the patient. The metric is the mean
    over classes of the mean over patients, like balanced accuracy.

    A + B is estimated from the variance of patients of one class in one run; A from the covariance of two repeats over
    patients; G from the variance between folds of one repeat (of hold-out: repeats) beyond that due to their patients.
    With one repeat A and B cannot be separated: everything is A then, so that more repeats gain nothing. The estimates
    are unbiased, so A and G may be below 0; combine comparisons (or a single one) with ``mean_components`` before
    computing a power. Raises ``DataError`` when a class has no two patients in one repeat.
    """
    base, y, f = np.asarray(reference, dtype=np.float64), np.asarray(labels), np.asarray(folds)
    d = np.asarray(arm, dtype=np.float64) - base
    tested = ~np.isnan(d)
    runs = [(r, k) for r in range(len(d)) for k in np.unique(f[r][tested[r]])]
    by_class = [np.stack([tested[r] & (f[r] == k) & (y == c) for r, k in runs]) for c in np.unique(y)]  # each [runs, P]
    repeat = np.array([r for r, _ in runs])
    spread = np.array([_spread(d, repeat, m) for m in by_class])
    if np.isnan(spread).any():
        raise DataError("a class has no two test patients in one repeat: a pilot needs more patients")
    weight = 1 / len(by_class) ** 2
    patients = weight * sum(v / np.sum(y == c) for v, c in zip(spread, np.unique(y), strict=True))
    shared = [_shared_variance(d[:, y == c]) / np.sum(y == c) for c in np.unique(y)]
    lasting = patients if np.isnan(shared).any() else weight * sum(shared)
    expected = weight * sum(v / np.maximum(1, m.sum(axis=1)) for v, m in zip(spread, by_class, strict=True))
    seen = _seen_variance(d, repeat, by_class, lasting)
    run = 0.0 if math.isnan(seen) else seen - float(np.mean(expected))
    changed, score = (float(np.mean([np.nanmean(v[:, y == c]) for c in np.unique(y)])) for v in (np.abs(d), base))
    return Components(float(lasting), float(patients - lasting), run, changed, score)


def clustered_components(
    arm: npt.ArrayLike, reference: npt.ArrayLike, images: npt.ArrayLike, folds: npt.ArrayLike
) -> Components:
    """Return the components of balanced accuracy per image, for patients with images of several classes.

    ``arm`` and ``reference`` float [R, P, C]: number of a patient's images of each class that are correct, NaN if the
    repeat does not test the patient; ``images`` float [P, C]: number of images; ``folds`` int [R, P]. A patient is one
    observation with all its images: its response is its contribution to the linearised difference of two mean recalls
    (a ratio estimator; Cochran 1977, section 2.11), so that the mean response over patients is the difference. The
    metric does not count patients, so ``changed`` and ``score`` are NaN. Raises as ``estimate_components``.
    """
    n = np.asarray(images, dtype=np.float64)
    gained = np.asarray(arm, dtype=np.float64) - np.asarray(reference, dtype=np.float64)  # [R, P, C]
    tested = ~np.isnan(gained).any(axis=2)
    recall = gained[tested].sum(axis=0) / np.broadcast_to(n, gained.shape)[tested].sum(axis=0)  # [C], the difference
    share = n / n.mean(axis=0)
    response = (gained / n.mean(axis=0) - (share - 1) * recall).mean(axis=2)
    found = estimate_components(response, np.zeros_like(response), np.zeros(response.shape[1]), folds)
    return replace(found, changed=NAN, score=NAN)


def mean_components(components: Iterable[Components]) -> Components:
    """Return the mean components of one or more comparisons, limited to 0 <= A <= A + B and 0 <= G."""
    parts = np.array([(c.lasting, c.lasting + c.passing, c.run, c.changed, c.score) for c in components])
    lasting, patients, run, changed, score = (float(v) for v in parts.mean(axis=0))
    lasting = min(max(lasting, 0.0), patients)
    return Components(lasting, patients - lasting, max(run, 0.0), changed, score)


def _pooled_variance(groups: Sequence[Floats]) -> float:
    """Return the variance within groups; NaN when each has one value."""
    dof = sum(len(g) - 1 for g in groups if len(g))
    return float(sum(((g - g.mean()) ** 2).sum() for g in groups if len(g)) / dof) if dof else NAN


def _spread(d: Floats, repeat: Ints, by_class: Bools) -> float:
    """Return the variance of patients of one class in one run; within one repeat if each run has only one of them."""
    by_run = [d[r][m] for r, m in zip(repeat, by_class, strict=True)]
    within = _pooled_variance(by_run)
    if not math.isnan(within):
        return within
    return _pooled_variance(
        [np.concatenate([v for v, r in zip(by_run, repeat, strict=True) if r == k]) for k in set(repeat)]
    )


def _shared_variance(d: Floats) -> float:
    """Return the covariance of two repeats over patients, the mean over pairs of repeats [R, P]; NaN for one repeat."""
    found = []
    for i in range(len(d)):
        for j in range(i):
            both = ~np.isnan(d[i]) & ~np.isnan(d[j])
            if both.sum() > 1:
                found.append(float(np.cov(d[i, both], d[j, both])[0, 1]))
    return float(np.mean(found)) if found else NAN


def _seen_variance(d: Floats, repeat: Ints, by_class: Sequence[Bools], lasting: float) -> float:
    """Return Var(pair): within repeats, plus between repeats of one pair, which does not include what they share."""
    scores = [[d[r][m].mean() if m.any() else NAN for r, m in zip(repeat, c, strict=True)] for c in by_class]
    pairs = np.mean(scores, axis=0)
    repeat, pairs = repeat[~np.isnan(pairs)], pairs[~np.isnan(pairs)]
    within = _pooled_variance([pairs[repeat == r] for r in np.unique(repeat)])
    return _pooled_variance([pairs]) + lasting if math.isnan(within) else within
