"""Intervals that should contain a known truth: that beside a score, and that of worth in patients."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numpy.random import Generator

from bench.selftest.comparisons import SETS, contributions
from bench.stats.endpoints import ENDPOINTS, score_units
from bench.stats.learners import lda, two_classes
from bench.stats.score_interval import score_interval
from bench.stats.simulation import (
    IMAGES,
    SAME,
    Curve,
    View,
    classes,
    curve_probabilities,
    draw_columns,
    draw_folds,
    pooled_probability,
    training_patients,
)
from bench.stats.worth import worth_in_patients

Floats = npt.NDArray[np.float64]
Values = dict[str, Floats]
NEW = 6000  # patients on which the true score of fitted models is measured
SIZES, SIZE = (20, 40, 80), 40  # of the curve of `none`, and of the arm whose worth is asked for


def score_intervals(cohort: tuple[int, int], k: int, studies: int, rng: Generator) -> Values:
    """Return for each endpoint whether the interval of k-fold contains the score of the same models on new patients.

    New patients have the cohort's prevalence, and each is scored by the model of one fold, as the cohort's are.
    """
    y, strengths = classes(cohort), SAME.strengths(1)
    new_y = np.tile(y, -(-NEW // len(y)))
    new = draw_columns(1, new_y, strengths, rng)[0]
    new_fold = np.arange(len(new_y)) // len(y) % k
    fold = draw_folds(studies, 1, y, k, rng)[:, 0]
    found: dict[str, list[float]] = {e: [] for e in ENDPOINTS}
    for x, of in zip(draw_columns(studies, y, strengths, rng), fold, strict=True):
        weight = np.repeat(training_patients(of[None, None], k)[0], IMAGES, axis=-1).astype(np.float32)
        models = lda(x, np.repeat(y, IMAGES), weight)
        seen, unseen = pooled_probability(models, x, of), pooled_probability(models, new, new_fold)
        for endpoint, values in found.items():
            interval = score_interval(endpoint, y, two_classes(seen), np.arange(len(y)))
            truth = score_units(endpoint, new_y, two_classes(unseen), np.arange(len(new_y))).score
            values.append(interval.low <= truth <= interval.high)
    return {endpoint: np.array(values, dtype=np.float64) for endpoint, values in found.items()}


def worth(view: View, extra: int, studies: int, rng: Generator) -> Values:
    """Return whether the interval of the worth of an arm contains ``extra``, [S].

    The arm is `none` itself, trained on ``SIZE + extra`` patients of each set.
    """
    y, p = curve_probabilities(Curve(SETS, (*SIZES, SIZE + extra)), view, studies, rng)
    covered = np.empty(studies)
    for s, probability in enumerate(p):
        scores = np.array([[contributions(y, q) for q in arm] for arm in probability])
        found = worth_in_patients(SIZES, scores[:-1], scores[-1], SIZE)
        covered[s] = found.low <= extra <= found.high
    return {"covered": covered}
