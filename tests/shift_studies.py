"""Made-up studies of a shift without any effect: how often the comparison of members claims one.

A study has a control and a shifted member of one design, each with `none` and a few arms, whose predictions are those
of ``bench.metrics.simulation``. What a run, and the patients it is trained on, do to a score is drawn anew for within
and across: the least favourable case, for a real classifier does part of it to both and the difference is spared it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bench.metrics.planning import pair_ratio
from bench.metrics.simulation import Cohort, Folds, draw_logits, fold_scores, patient_right
from bench.metrics.statistics import corrected_resampled_t, holm
from bench.selftest.trials import SPREAD, Ready, Trial, prepare

Floats = npt.NDArray[np.floating]


@dataclass(frozen=True)
class Design:
    """Patients of each class of those tested within; across the same ones, or as many others."""

    name: str
    patients: tuple[int, int]
    folds: int
    repeats: int
    same: bool
    price: float = 0.0  # on the scale of a logit, of every arm: no change of any gain


def ready_of(design: Design) -> Ready:
    return prepare(Trial(design.name, *design.patients, design.folds, design.repeats), seed=0)


def studies(design: Design, ready: Ready, number: int, arms: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Return the scores within and across, float [number, arms, pairs]; arm 0 is `none`."""
    folds = ready.folds.first(design.repeats).take(np.arange(number) % len(ready.folds.tested))
    if design.same:
        logits = draw_logits(ready.cohort, folds, 2 * arms, SPREAD, rng)
        sides = [logits[:, :arms], logits[:, arms:]]
    else:
        sides = [draw_logits(ready.cohort, folds, arms, SPREAD, rng) for _ in range(2)]
    found = [_scores(ready.cohort, folds, design, x) for x in (sides[0], sides[1] - np.float32(design.price))]
    return found[0], found[1]


def _scores(cohort: Cohort, folds: Folds, design: Design, logits: Floats) -> Floats:
    right = patient_right(cohort, logits)
    return fold_scores(right, cohort.labels, folds.tested, design.folds)


def claims(differences: Floats, ratio: float) -> tuple[float, float]:
    """Return how often a comparison alone, and a family by Holm, claims an effect; differences [studies, arms, pairs].

    The test is that of ``verdicts``.
    """
    p = np.array([[corrected_resampled_t(d, pair_ratio(ratio)).p for d in study] for study in differences])
    return float((p < 0.05).mean()), float(np.mean([np.nanmin([*holm(row), 1.0]) < 0.05 for row in p]))
