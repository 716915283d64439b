"""Optimism of a tuned arm: its reported score minus the score of the same models on new patients.

Configurations differ in the columns that they see, and few columns carry signal, so a configuration may fit this
cohort by chance. *Per fold*: each fold uses the configuration with the best validation score of that fold, which has
seen no test patient of it. *Once*: one configuration, the best by the mean validation score over folds; the validation
patients of one fold are test patients of another.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numpy.random import Generator

from bench.stats.endpoints import score_units
from bench.stats.learners import Floats, Ints, Linear, lda, patient_probability
from bench.stats.simulation import IMAGES, STRENGTH, classes, draw_columns, draw_folds, prevalent

COHORT, FOLDS, CONFIGS = (24, 58), 5, 24
INFORMATIVE, COLUMNS, SEEN = 8, 48, 8
NEW = 4000  # patients on which the true score is measured


def tuning(studies: int, rng: Generator) -> dict[str, npt.NDArray[np.float64]]:
    """Return the optimism of one configuration chosen per fold, and of one chosen once, in AUROC, [S] each."""
    y, new_y = classes(COHORT), prevalent(NEW)
    strengths = np.repeat([STRENGTH, 0.0], [INFORMATIVE, COLUMNS - INFORMATIVE])
    new = draw_columns(1, new_y, strengths, rng)[0]
    cohort = draw_columns(studies, y, strengths, rng)
    folds = draw_folds(studies, 1, y, FOLDS, rng)[:, 0]
    found: dict[str, list[float]] = {"per fold": [], "once": []}
    for x, fold in zip(cohort, folds, strict=True):
        columns = [np.sort(rng.permutation(COLUMNS)[:SEEN]) for _ in range(CONFIGS)]
        models = _fitted(x, y, fold, columns)
        validation = np.array([_validation_scores(m, x[:, c], y, fold) for m, c in zip(models, columns, strict=True)])
        chosen = {"per fold": validation.argmax(axis=0), "once": np.full(FOLDS, validation.mean(axis=1).argmax())}
        for name, configs in chosen.items():
            used = [(models[c], columns[c]) for c in configs]
            new_fold = np.arange(NEW) % FOLDS  # pooled over the folds' models, as the reported score is
            found[name].append(auroc(y, _pooled(used, x, fold)) - auroc(new_y, _pooled(used, new, new_fold)))
    return {name: np.array(values) for name, values in found.items()}


def auroc(y: Ints, probability: Floats) -> float:
    """Return the AUROC of patients, [P] each."""
    return score_units("auroc", y, np.stack([1 - probability, probability], axis=1), np.arange(len(y))).score


def _fitted(x: Floats, y: Ints, fold: Ints, columns: list[npt.NDArray[np.intp]]) -> list[Linear]:
    """Return each configuration's models of all folds; a fold trains on all but its test and its validation patients."""
    trained = np.stack([(fold != k) & (fold != (k + 1) % FOLDS) for k in range(FOLDS)])
    weight = np.repeat(trained, IMAGES, axis=-1).astype(np.float32)
    return [lda(x[:, seen], np.repeat(y, IMAGES), weight) for seen in columns]


def _validation_scores(model: Linear, x: Floats, y: Ints, fold: Ints) -> list[float]:
    probability = patient_probability(model.logits(x), IMAGES)  # [K, P]
    held = [fold == (k + 1) % FOLDS for k in range(FOLDS)]
    return [auroc(y[h], p[h]) for p, h in zip(probability, held, strict=True)]


def _pooled(used: list[tuple[Linear, npt.NDArray[np.intp]]], x: Floats, fold: Ints) -> Floats:
    """Return the probability of each patient [P] by the model of its fold; x [P * IMAGES, D]."""
    images = x.reshape(len(fold), IMAGES, -1)
    result = np.empty(len(fold))
    for k, (model, seen) in enumerate(used):
        logits = images[fold == k][..., seen] @ model.weights[k] + model.offset[k]
        result[fold == k] = patient_probability(logits.reshape(-1), IMAGES)
    return result
