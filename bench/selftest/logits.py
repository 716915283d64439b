"""Simulated predictions of a whole comparison with known true effect, on which ``bench selftest`` tests the harness.

An image i of a patient p, tested in a run (repeat r, fold f) under an arm a, is correct if its logit is above 0:

    logit = level[class] + difficulty[p] + difficulty[i] + lasting[a, p] + passing[a, p, r] + passing[a, i, r]
            + run[a, r, f] + bias[a, r, f] (+ for class 0, - for class 1) + training[a, r, f] + shift[a]

Difficulties are common to the arms, so arms are paired; ``lasting`` is a patient's individual response to an arm, the
same in every repeat; ``training`` is the mean influence of the run's training patients, so that runs are correlated by
shared patients. All are normal with mean 0 and the sd of ``Spread``; without a shift all arms are equal in expectation.
``shift_for`` finds the shift for a given change of the expected patient-level balanced accuracy. Pure arrays: S
studies, A arms, R repeats, K folds, P patients, M images; images of a patient are adjacent.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numpy.random import Generator

from bench.errors import ConfigError
from bench.metrics.classification import confusion_metrics

Floats = npt.NDArray[np.floating]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
TRAINED_SHARE = 0.64  # approximate share of the patients in a training part: used only by the smallest of all variances


@dataclass(frozen=True)
class Cohort:
    """Patients: label int [P] in {0, 1}, number of images int [P]."""

    labels: Ints
    images: Ints

    @property
    def patient(self) -> Ints:
        """The patient of each image, int [M]."""
        return np.repeat(np.arange(len(self.labels)), self.images)


@dataclass(frozen=True)
class Spread:
    """Standard deviations of the terms of a logit (see the module), and its levels for class 0 and class 1.

    ``training`` is that of one training patient's influence; a run has the mean of them.
    """

    levels: tuple[float, float]
    patient: float
    image: float
    lasting: float
    passing: float
    passing_image: float
    run: float
    bias: float
    training: float


@dataclass(frozen=True)
class Folds:
    """Folds and training patients: ``tested`` int [S, R, P] the fold, ``trained`` bool [S, R, K, P]."""

    tested: Ints
    trained: Bools

    def take(self, studies: Ints) -> Folds:
        """Return the folds of these studies."""
        return Folds(self.tested[studies], self.trained[studies])

    def first(self, repeats: int) -> Folds:
        """Return the first repeats."""
        return Folds(self.tested[:, :repeats], self.trained[:, :repeats])


def draw_logits(cohort: Cohort, folds: Folds, arms: int, spread: Spread, rng: Generator) -> Floats:
    """Return the logits of the true class, without any shift, float32 [S, A, R, M] (half the time of float64)."""
    studies, repeats, patients = folds.tested.shape
    k = folds.trained.shape[2]
    y, of = cohort.labels, cohort.patient

    def normal(sd: float, *shape: int) -> Floats:
        return np.float32(sd) * rng.standard_normal(shape, dtype=np.float32)

    share = (folds.trained / folds.trained.sum(axis=-1, keepdims=True)).astype(np.float32)
    training = np.einsum("srkp,sap->sark", share, normal(spread.training, studies, arms, patients))
    run = normal(spread.run, studies, arms, repeats, k) + training
    sign = np.where(y == 0, 1.0, -1.0).astype(np.float32)
    at = np.broadcast_to(folds.tested[:, None], (studies, arms, repeats, patients))
    patient = np.take_along_axis(run, at, axis=-1)
    patient += sign * np.take_along_axis(normal(spread.bias, studies, arms, repeats, k), at, axis=-1)
    patient += np.asarray(spread.levels, dtype=np.float32)[y] + normal(spread.patient, studies, 1, 1, patients)
    patient += normal(spread.lasting, studies, arms, 1, patients) + normal(
        spread.passing, studies, arms, repeats, patients
    )
    image = normal(spread.image, studies, 1, 1, len(of)) + normal(spread.passing_image, studies, arms, repeats, len(of))
    return patient[..., of] + image


def image_right(logits: Floats) -> Bools:
    """Return whether each image is classified correctly, bool [..., M]."""
    return logits > 0


def patient_probability(cohort: Cohort, logits: Floats) -> Floats:
    """Return the mean over a patient's images of the probability of the true class, float [..., P]."""
    start = np.concatenate([[0], np.cumsum(cohort.images)[:-1]])
    probability = 1 / (1 + np.exp(-logits))
    return np.asarray(np.add.reduceat(probability, start, axis=-1) / cohort.images, dtype=np.float64)


def patient_right(cohort: Cohort, logits: Floats) -> Bools:
    """Return whether each patient's mean probability is correct, bool [..., P]: the rule of the harness."""
    return patient_probability(cohort, logits) > 0.5


def fold_scores(right: Bools, labels: Ints, tested: Ints, folds: int) -> Floats:
    """Return balanced accuracy of each pair, float [S, A, R * K], from correct units bool [S, A, R, U].

    ``labels`` int [U] and ``tested`` int [S, R, U] are the class and the fold of each unit (patients or images).
    """
    hits = []
    for c in (0, 1):
        of_class = labels == c
        here = tested[..., of_class, None] == np.arange(folds)  # [S, R, U, K]
        of = here.sum(axis=-2)[:, None]
        hit = np.einsum("saru,sruk->sark", right[..., of_class].astype(np.float32), here.astype(np.float32))
        hits.append((hit, of - hit))
    (right0, wrong0), (right1, wrong1) = hits
    matrix = np.stack([np.stack([right0, wrong0], -1), np.stack([wrong1, right1], -1)], -2).astype(np.float64)
    scores = confusion_metrics(matrix)["balanced_accuracy"]
    return scores.reshape(*scores.shape[:2], -1)


def shift_for(cohort: Cohort, spread: Spread, points: npt.ArrayLike, rng: Generator, patients: int = 40_000) -> Floats:
    """Return the shifts that change the expected patient-level balanced accuracy by ``points`` (0.02: two points).

    Each of many simulated patients becomes correct at one shift, found by bisection; the metric's expectation is their
    distribution, the mean over classes. Raises ``ConfigError`` for an effect beyond the ceiling.
    """
    wanted = np.atleast_1d(np.asarray(points, dtype=np.float64))
    sd = np.sqrt(spread.patient**2 + spread.lasting**2 + spread.passing**2)
    sd = np.sqrt(sd**2 + spread.run**2 + spread.bias**2 + spread.training**2 / (TRAINED_SHARE * len(cohort.labels)))
    turning = []
    for c in (0, 1):
        counts = rng.choice(cohort.images[cohort.labels == c], patients)
        made = Cohort(np.full(patients, c), counts)
        own = spread.levels[c] + sd * rng.standard_normal(patients)
        image = np.hypot(spread.image, spread.passing_image) * rng.standard_normal(counts.sum())
        turning.append(np.sort(_turning_shift(made, own[made.patient] + image)))

    def expected(shift: float) -> float:
        return float(np.mean([np.searchsorted(t, shift) / patients for t in turning]))

    base = expected(0.0)
    if base + wanted.max() > 0.995 or base + wanted.min() < 0.005:
        raise ConfigError(f"an effect of {wanted.max():+.3f} cannot be injected at an expected score of {base:.3f}")
    low, high = np.full(len(wanted), -20.0), np.full(len(wanted), 20.0)
    for _ in range(60):
        middle = (low + high) / 2
        above = np.array([expected(m) for m in middle]) > base + wanted
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    return np.where(wanted == 0, 0.0, (low + high) / 2)


def _turning_shift(cohort: Cohort, logits: Floats) -> Floats:
    """Return for each patient the smallest shift at which its mean probability is above one half, [P]."""
    of = cohort.patient
    low, high = np.full(len(cohort.labels), -30.0), np.full(len(cohort.labels), 30.0)
    for _ in range(30):
        middle = (low + high) / 2
        right = patient_right(cohort, logits + middle[of])
        low, high = np.where(right, low, middle), np.where(right, middle, high)
    return (low + high) / 2
