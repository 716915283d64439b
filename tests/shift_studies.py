"""Made-up studies of a shift without any effect: how often the comparison of members claims one.

A study has a control and a shifted member of one design, each with `none` and a few arms, whose predictions are those
of ``simulated_logits``. What a run, and the patients it is trained on, do to a score is drawn anew in- and
out-of-distribution: the least favourable case, as for a real classifier part of it is the same and cancels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from simulated_logits import SPREAD, Cohort, Folds, Ready, Trial, draw_logits, fold_scores, patient_right, prepare

from bench.analysis.datasets.shift import Kind
from bench.stats.folds_test import resampled_test
from bench.stats.inference import corrected_resampled_t, holm
from bench.stats.planning import pair_ratio

Floats = npt.NDArray[np.floating]


@dataclass(frozen=True)
class Design:
    """Patients of each class tested in-distribution; out-of-distribution the same ones, or as many others."""

    name: str
    patients: tuple[int, int]
    folds: int
    repeats: int
    same: bool
    drop: float = 0.0  # performance drop of every arm, on the scale of a logit: no change of any gain


def ready_of(design: Design) -> Ready:
    return prepare(Trial(design.name, *design.patients, design.folds, design.repeats), seed=0)


def studies(design: Design, ready: Ready, number: int, arms: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Return the scores in- and out-of-distribution, float [number, arms, pairs]; arm 0 is `none`."""
    folds = ready.folds.first(design.repeats).take(np.arange(number) % len(ready.folds.tested))
    if design.same:
        logits = draw_logits(ready.cohort, folds, 2 * arms, SPREAD, rng)
        sides = [logits[:, :arms], logits[:, arms:]]
    else:
        sides = [draw_logits(ready.cohort, folds, arms, SPREAD, rng) for _ in range(2)]
    found = [_scores(ready.cohort, folds, design, x) for x in (sides[0], sides[1] - np.float32(design.drop))]
    return found[0], found[1]


def _scores(cohort: Cohort, folds: Folds, design: Design, logits: Floats) -> Floats:
    right = patient_right(cohort, logits)
    return fold_scores(right, cohort.labels, folds.tested, design.folds)


def learnt(
    design: Design, number: int, rng: np.random.Generator, features: int = 15, images: int = 8
) -> tuple[Floats, Floats]:
    """Return scores as ``studies`` does, of `none` and an arm, where classifiers learn all they know from a data set.

    Ridge regression on ±1; image = class + patient + noise, normal. Across, the class shows less, one feature is moved
    and one varies more; the arm adds noise to the moved one. Here training sets make prices of overlapping folds alike.
    """
    found = np.array([_learnt(design, rng, features, images) for _ in range(number)])
    return found[:, :, 0], found[:, :, 1]


def _learnt(design: Design, rng: np.random.Generator, features: int, images: int) -> Floats:
    y = np.repeat([-1.0, 1.0], design.patients)
    near, far = (rng.normal(0, 1.0, (len(y), 1, features)) for _ in range(2))
    sides = [of + rng.normal(0, 1.5, (len(y), images, features)) for of in (near, near if design.same else far)]
    sides[0][..., 0] += 0.9 * y[:, None]
    sides[1][..., 0] += 0.72 * y[:, None]
    sides[1][..., 1] += 4.0
    sides[1][..., 2] *= 1.5
    fold = np.empty(len(y), dtype=np.int64)
    for c in (-1, 1):
        of = rng.permutation(np.flatnonzero(y == c))
        fold[of] = np.arange(len(of)) % design.folds
    scores = np.empty((2, 2, design.folds))
    for f in range(design.folds):
        trained = rng.permutation(np.flatnonzero(fold != f))
        trained = trained[len(trained) // 5 :]  # the others are for validation
        for arm in range(2):
            x = sides[0][trained].reshape(-1, features).copy()
            x[:, 1] += arm * rng.normal(0, 2.0, len(x))
            w = _ridge(x, np.repeat(y[trained], images))
            for at, side in enumerate(sides):
                right = np.sign((side[fold == f] @ w[:-1] + w[-1]).mean(axis=1)) == y[fold == f]
                scores[arm, at, f] = np.mean([right[y[fold == f] == c].mean() for c in (-1, 1)])
    return scores


def _ridge(x: Floats, y: Floats) -> Floats:
    """Return weights and offset, classes weighted alike."""
    weight = np.where(y > 0, 0.5 / (y > 0).mean(), 0.5 / (y < 0).mean())
    z = np.column_stack([x, np.ones(len(x))])
    return np.linalg.solve((z * weight[:, None]).T @ z + np.eye(z.shape[1]), (z * weight[:, None]).T @ y)


def missed(differences: Floats, ratio: float, share: float) -> float:
    """Return how often the 95 % interval misses the true mean (that of all studies); differences [studies, pairs]."""
    tests = [corrected_resampled_t(d, pair_ratio(ratio, share)) for d in differences]
    return float(np.mean([t.low > differences.mean() or t.high < differences.mean() for t in tests]))


def claims(kind: Kind, differences: Floats, ratio: float) -> tuple[float, float]:
    """Return how often a comparison alone, and a family by Holm, claims an effect; differences [studies, arms, pairs].

    The test is that of ``bench.analysis.datasets.shift``, for one repeat.
    """
    protocol = "holdout" if kind == "performance_drop" else "kfold"
    p = np.array([[resampled_test(d, ratio, protocol).p for d in study] for study in differences])
    return float((p < 0.05).mean()), float(np.mean([np.nanmin([*holm(row), 1.0]) < 0.05 for row in p]))
