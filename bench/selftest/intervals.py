"""Intervals that should contain a known truth: that beside a score, and that of worth in patients."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numpy.random import Generator

from bench.selftest.comparisons import ENDPOINT, SETS, contributions
from bench.stats.learners import Linear, lda, patient_probability
from bench.stats.simulation import (
    IMAGES,
    SAME,
    Curve,
    by_testing_run,
    classes,
    curve_probabilities,
    draw_columns,
    draw_folds,
    prevalent,
    training_patients,
)

Floats = npt.NDArray[np.float64]
Values = dict[str, Floats]
NEW = 6000  # patients on which the true score of fitted models is measured
SIZES, SIZE, EXTRA = (20, 40, 80), 40, 20  # the arm of the worth is trained on SIZE + EXTRA patients


def score_intervals(cohort: tuple[int, int], k: int, studies: int, rng: Generator) -> Values:
    """Return whether the interval of each study contains the score of its models on new patients, [S]."""
    y, strengths = classes(cohort), SAME.strengths(1)
    new_y = np.tile(y, -(-NEW // len(y)))  # the same prevalence
    new = draw_columns(1, new_y, strengths, rng)[0]
    x = draw_columns(studies, y, strengths, rng)
    fold = draw_folds(studies, 1, y, k, rng)
    weight = np.repeat(training_patients(fold, k), IMAGES, axis=-1).astype(np.float32)
    models = lda(x[:, None], np.repeat(y, IMAGES), weight)  # [S, K]
    logits = np.stack([Linear(models.weights[:, j], models.offset[:, j]).logits(x) for j in range(k)], axis=1)
    own = by_testing_run(patient_probability(logits, IMAGES)[:, None], fold)[:, 0, 0]  # [S, P]
    return {}


def worth(studies: int, rng: Generator) -> Values:
    """Return whether the interval of the worth contains the true worth, of an arm with ``EXTRA`` more patients, [S]."""
    y, p = curve_probabilities(Curve(SETS, (*SIZES, SIZE + EXTRA)), SAME, studies, rng)
    return {}
