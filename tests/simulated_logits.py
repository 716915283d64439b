"""Simulated predictions of a whole comparison without any effect, for ``shift_studies``.

An image i of a patient p, tested in a run (repeat r, fold f) under an arm a, is correct if its logit is above 0:

    logit = level[class] + difficulty[p] + difficulty[i] + lasting[a, p] + passing[a, p, r] + passing[a, i, r]
            + run[a, r, f] + bias[a, r, f] (+ for class 0, - for class 1) + training[a, r, f]

Difficulties are common to the arms, so arms are paired; ``lasting`` is a patient's individual response to an arm, the
same in every repeat; ``training`` is the mean influence of the run's training patients, so that runs are correlated by
shared patients. All are normal with mean 0 and the sd of ``Spread``. Pure arrays: S studies, A arms, R repeats, K
folds, P patients, M images; images of a patient are adjacent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from numpy.random import Generator

from bench.analysis.info import FoldSize, test_train_ratio
from bench.data.splits import SplitConfig, make_splits
from bench.metrics.classification import confusion_metrics
from bench.seeding import derive_seed
from bench.types import DatasetIndex, ImageRecord, Split

Floats = npt.NDArray[np.floating]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
IMAGES_A_PATIENT = 20  # mean; BreakHis at one magnification has 24
SPLITS = 10  # number of different splits, used alternately


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


# What the parts of a prediction vary by, so that simulated comparisons look like those of real folds. Measured on 18
# BreakHis patients: with three networks, 42 comparisons against none (an earlier breakhis-small) had 0.20 of the
# patients and 0.18 of the images right under one arm only, and patients hold 0.37 of the variance of what is right;
# with small_cnn in 5 folds x 4 repeats (classical, oversample) it is 0.13, 0.17 and 0.41. On 82 phantom patients,
# which it gets right far more often: 0.05, 0.07 and 0.47. Here: 0.17, 0.19 and 0.45. How much of a patient's response
# lasts (here 0.37), and what runs and common training patients add (next to nothing): see ``planning.LASTING_SHARE``.
# The levels leave room for an effect of 10 points.
SPREAD = Spread(
    levels=(0.9, 1.2),
    patient=1.3,
    image=0.8,
    lasting=0.55,
    passing=0.4,
    passing_image=0.6,
    run=0.08,
    bias=0.1,
    training=0.4,
)


@dataclass(frozen=True)
class Trial:
    """One design: patients of each class (BreakHis has 24 and 58), folds, repeats."""

    name: str
    benign: int
    malignant: int
    folds: int
    repeats: int

    @property
    def cohort(self) -> tuple[int, int]:
        """Patients of each class."""
        return (self.benign, self.malignant)


@dataclass(frozen=True)
class Ready:
    """A prepared trial: its patients and its splits."""

    trial: Trial
    cohort: Cohort
    folds: Folds  # of SPLITS draws
    ratio: float


def prepare(trial: Trial, seed: int) -> Ready:
    """Create a cohort and its folds; the ratio n_test / n_train is that of a report with these folds."""
    rng = np.random.default_rng(derive_seed("selftest cohort", seed, trial.cohort))
    labels = np.repeat([0, 1], trial.cohort)
    images = np.maximum(4, np.rint(IMAGES_A_PATIENT * np.exp(rng.normal(-0.125, 0.5, len(labels))))).astype(np.int64)
    cohort = Cohort(labels, images)
    index = _index(cohort)
    trial = replace(trial, repeats=max(2, trial.repeats))
    drawn = [
        make_splits(index, SplitConfig(folds=trial.folds, repeats=trial.repeats, seed=derive_seed("selftest", seed, i)))
        for i in range(SPLITS)
    ]
    sizes = [FoldSize(s.fold, s.repeat, len(s.train), len(s.validation), len(s.test)) for s in drawn[0]]
    ratio = test_train_ratio(sizes)
    return Ready(trial, cohort, _as_folds(trial, drawn), ratio)


def _index(cohort: Cohort) -> DatasetIndex:
    records = [
        ImageRecord(f"{p:04d}/{i:03d}", int(label), f"{p:04d}", f"{p:04d}{i:03d}")
        for p, (label, n) in enumerate(zip(cohort.labels, cohort.images, strict=True))
        for i in range(n)
    ]
    return DatasetIndex("selftest", Path(), ("benign", "malignant"), tuple(records))


def _as_folds(trial: Trial, drawn: Sequence[Sequence[Split]]) -> Folds:
    tested = np.zeros((len(drawn), trial.repeats, sum(trial.cohort)), dtype=np.int64)
    trained = np.zeros((len(drawn), trial.repeats, trial.folds, sum(trial.cohort)), dtype=np.bool_)
    for i, splits in enumerate(drawn):
        for s in splits:
            tested[i, s.repeat, _patients(s.test)] = s.fold
            trained[i, s.repeat, s.fold, _patients(s.train)] = True
    return Folds(tested, trained)


def _patients(paths: Sequence[str]) -> list[int]:
    return sorted({int(p.partition("/")[0]) for p in paths})
