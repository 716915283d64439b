"""Simulated studies with known truth: real learners on patient-clustered features, for ``bench selftest``.

A patient has a class and several images. Column d of an image of patient p is

    x[d] = strength[d] * (y[p] - 1/2) + sqrt(share) * patient noise[p, d] + sqrt(1 - share) * image noise[d]

so images of one patient are alike, and a learner that sees few patients learns their peculiarities. Two arms are two
views of the columns (``View``); by symmetry they are equally good on average over patients, so any claimed difference
is false. An effect is injected by training one arm on more patients. Plain arrays: S studies, A arms, R training sets,
J runs (repeat and fold), P or G patients; images of a patient are adjacent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numpy.random import Generator

from bench.stats.learners import Floats, Ints, Learner, Linear, lda, patient_probability

Bools = npt.NDArray[np.bool_]
IMAGES = 4  # of a patient
PATIENT_SHARE = 0.5  # of the variance of a column within a class
STRENGTH = 0.4  # distance of the classes in an informative column, in standard deviations
PERIOD = 10  # patients; three of ten are of class 1, like malignant images in screening
OF_CLASS_1 = (2, 5, 8)


@dataclass(frozen=True)
class View:
    """Columns that arms see: ``common`` informative ones, and ``own`` ones of each arm.

    ``own_signal``: the own columns are informative too (else noise). ``bank``: each training run of each arm sees
    ``own`` noise columns picked at random from one bank of this size, the same for both arms. ``fresh``: the own
    columns are drawn again for each run of each arm.
    """

    name: str
    common: int
    own: int = 0
    own_signal: bool = False
    bank: int = 0
    fresh: bool = False

    def strengths(self, arms: int) -> Floats:
        """Return the strength of each drawn column: the common ones, then each arm's own, or the bank."""
        rest = self.bank or (0 if self.fresh else arms * self.own)
        return np.array([STRENGTH] * self.common + [STRENGTH * self.own_signal] * rest, dtype=np.float32)

    def seen(self, shape: tuple[int, ...], rng: Generator) -> Floats:
        """Return 1 where a run sees a column, float32 [*shape, D]; shape [..., A, J] is that of all runs."""
        arms = shape[-2]
        mask = np.zeros((*shape, len(self.strengths(arms))), dtype=np.float32)
        mask[..., : self.common] = 1
        if self.bank:
            order = rng.random((*shape, self.bank)).argsort(axis=-1)
            mask[..., self.common :] = order < self.own
        elif not self.fresh:
            for a in range(arms):
                first = self.common + a * self.own
                mask[..., a, :, first : first + self.own] = 1
        return mask


SAME = View("same features", common=12)
NULLS = (
    View("fresh noise", common=8, own=8, fresh=True),
    View("noise bank", common=8, own=8, bank=16),
    View("half-shared", common=6, own=6, own_signal=True),
    View("disjoint", common=0, own=12, own_signal=True),
)


def prevalent(patients: int) -> Ints:
    """Return the classes of patients, int [P]; every block of ten has three of class 1."""
    return np.isin(np.arange(patients) % PERIOD, OF_CLASS_1).astype(np.int64)


def draw_columns(studies: int, y: Ints, strengths: Floats, rng: Generator) -> Floats:
    """Return the images of S studies, float32 [S, P * IMAGES, D], for patients of the classes y [P]."""
    shape = (studies, len(y), 1, len(strengths))
    patient = rng.standard_normal(shape, dtype=np.float32) * np.float32(PATIENT_SHARE**0.5)
    patient += ((y - 0.5)[:, None, None] * strengths).astype(np.float32)
    image = rng.standard_normal((studies, len(y), IMAGES, len(strengths)), dtype=np.float32)
    image *= np.float32((1 - PATIENT_SHARE) ** 0.5)
    return (patient + image).reshape(studies, -1, len(strengths))


@dataclass(frozen=True)
class Curve:
    """A learning curve: R disjoint training sets, the training patients of each arm, and common test patients."""

    sets: int = 12
    sizes: tuple[int, ...] = (40, 40)
    test: int = 400


def curve_probabilities(
    curve: Curve, view: View, studies: int, rng: Generator, learner: Learner = lda
) -> tuple[Ints, Floats]:
    """Return the classes [G] of the test patients and their probability of class 1, float32 [S, A, R, G].

    Arm a is trained on the first ``sizes[a]`` patients of each set, so sets of several sizes are nested.
    """
    arms, most = len(curve.sizes), max(curve.sizes)
    y_set, y = prevalent(most), prevalent(curve.test)
    strengths = view.strengths(arms)
    train = draw_columns(studies * curve.sets, y_set, strengths, rng).reshape(studies, curve.sets, -1, len(strengths))
    test = draw_columns(studies, y, strengths, rng)
    seen = view.seen((studies, arms, curve.sets), rng)
    result = np.empty((studies, arms, curve.sets, curve.test), dtype=np.float32)
    for a, size in enumerate(curve.sizes):
        rows = size * IMAGES
        x = train[:, :, :rows] * seen[:, a, :, None]
        if view.fresh:
            noise = draw_columns(studies * curve.sets, y_set[:size], np.zeros(view.own), rng)
            x = np.concatenate([x, noise.reshape(studies, curve.sets, rows, view.own)], axis=-1)
        model = learner(x, np.repeat(y_set[:size], IMAGES), np.ones(rows, dtype=np.float32))
        result[:, a] = patient_probability(_new_logits(model, test, view, rng), IMAGES)
    return y, result


def _new_logits(model: Linear, test: Floats, view: View, rng: Generator) -> Floats:
    """Return the logits [S, R, rows] of test images [S, rows, D] by models [S, R], with fresh noise where it is seen.

    The sum of fresh noise columns with the model's weights is drawn at once: it is normal, with the norm of the weights
    as its standard deviation.
    """
    d = test.shape[-1]
    logits = model.weights[..., :d] @ test.swapaxes(-1, -2) + model.offset[..., None]
    if view.fresh:
        studies, sets = model.offset.shape
        noise = draw_columns(studies * sets, np.zeros(test.shape[1] // IMAGES), np.zeros(1), rng)
        logits += np.linalg.norm(model.weights[..., d:], axis=-1)[..., None] * noise.reshape(studies, sets, -1)
    return np.asarray(logits)


def run_probabilities(y: Ints, trained: Bools, view: View, rng: Generator, learner: Learner = lda) -> Floats:
    """Return each run's probability of class 1 for all patients, float32 [S, A, J, P].

    y int [P] are their classes and trained bool [S, A, J, P] the training patients of each run.
    """
    studies, arms, runs, _ = trained.shape
    drawn = draw_columns(studies, y, view.strengths(arms), rng)
    seen = view.seen((studies, arms, runs), rng)
    rows = np.repeat(y, IMAGES)
    result = np.empty(trained.shape, dtype=np.float32)
    for a in range(arms):
        for j in range(runs):
            x = drawn * seen[:, a, j, None]
            if view.fresh:
                x = np.concatenate([x, draw_columns(studies, y, np.zeros(view.own), rng)], axis=-1)
            weight = np.repeat(trained[:, a, j], IMAGES, axis=-1).astype(np.float32)
            model = learner(x, rows, weight)
            result[:, a, j] = patient_probability(model.logits(x), IMAGES)
    return result


def draw_folds(studies: int, repeats: int, y: Ints, folds: int, rng: Generator) -> Ints:
    """Return the test fold of each patient, int [S, R, P], stratified by class."""
    result = np.empty((studies, repeats, len(y)), dtype=np.int64)
    for label in (0, 1):
        place = np.flatnonzero(y == label)
        turns = np.broadcast_to(np.arange(len(place)) % folds, (studies, repeats, len(place)))
        if label:
            turns = folds - 1 - turns  # the last folds get the patients that are left over
        result[..., place] = rng.permuted(turns, axis=-1)
    return result


def training_patients(fold: Ints, folds: int) -> Bools:
    """Return the training patients of each run, bool [S, R * K, P], from the folds [S, R, P]."""
    trained = fold[:, :, None] != np.arange(folds)[:, None]
    return trained.reshape(len(fold), -1, fold.shape[-1])


def by_testing_run(probability: Floats, fold: Ints) -> Floats:
    """Return the probability of each patient by the run that tests it, [S, A, R, P], from [S, A, R * K, P]."""
    studies, arms, runs, patients = probability.shape
    repeats = fold.shape[1]
    by_fold = probability.reshape(studies, arms, repeats, runs // repeats, patients)
    return np.take_along_axis(by_fold, fold[:, None, :, None], axis=3)[:, :, :, 0]


def pooled_probability(models: Linear, x: Floats, fold: Ints) -> Floats:
    """Return the probability of class 1 of each patient by the model of its fold, [P].

    models [K], x float [P * IMAGES, D], fold int [P] in 0..K-1.
    """
    images = x.reshape(len(fold), IMAGES, -1)
    result = np.empty(len(fold))
    for k in np.unique(fold):
        logits = images[fold == k] @ models.weights[k] + models.offset[k]
        result[fold == k] = patient_probability(logits.reshape(-1), IMAGES)
    return result


def classes(counts: Sequence[int]) -> Ints:
    """Return the classes of a cohort, int [P], from the number of patients of each class."""
    return np.repeat(np.arange(len(counts)), counts)
