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
from bench.stats.learners import Floats, Ints, Linear, lda, patient_probability, two_classes
from bench.stats.simulation import IMAGES, STRENGTH, classes, draw_columns, draw_folds, pooled_probability, prevalent

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
        models = _fitted(x, y, fold, [rng.permutation(COLUMNS)[:SEEN] for _ in range(CONFIGS)])
        validation = np.array([_validation_scores(m, x, y, fold) for m in models])  # [C, K]
        chosen = {"per fold": validation.argmax(axis=0), "once": np.full(FOLDS, validation.mean(axis=1).argmax())}
        for name, configs in chosen.items():
            weights = np.stack([models[c].weights[k] for k, c in enumerate(configs)])
            used = Linear(weights, np.array([models[c].offset[k] for k, c in enumerate(configs)]))
            truth = auroc(new_y, pooled_probability(used, new, np.arange(NEW) % FOLDS))
            found[name].append(auroc(y, pooled_probability(used, x, fold)) - truth)
    return {name: np.array(values) for name, values in found.items()}


def auroc(y: Ints, probability: Floats) -> float:
    """Return the AUROC of patients, [P] each."""
    return score_units("auroc", y, two_classes(probability), np.arange(len(y))).score


def _fitted(x: Floats, y: Ints, fold: Ints, columns: list[npt.NDArray[np.intp]]) -> list[Linear]:
    """Return each configuration's models of all folds, with weight 0 for columns that it does not see.

    A fold is trained on all but its test patients and its validation patients, which are those of the next fold.
    """
    trained = np.stack([(fold != k) & (fold != (k + 1) % FOLDS) for k in range(FOLDS)])
    weight = np.repeat(trained, IMAGES, axis=-1).astype(np.float32)
    models = []
    for seen in columns:
        model = lda(x[:, seen], np.repeat(y, IMAGES), weight)
        weights = np.zeros((FOLDS, x.shape[1]), dtype=x.dtype)
        weights[:, seen] = model.weights
        models.append(Linear(weights, model.offset))
    return models


def _validation_scores(model: Linear, x: Floats, y: Ints, fold: Ints) -> list[float]:
    probability = patient_probability(model.logits(x), IMAGES)  # [K, P]
    held = [fold == (k + 1) % FOLDS for k in range(FOLDS)]
    return [auroc(y[h], p[h]) for p, h in zip(probability, held, strict=True)]
