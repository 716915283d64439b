"""Results of each test on simulated comparisons: the harness's verdict, and tests that papers often use."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from bench.selftest.logits import (
    Cohort,
    Folds,
    draw_logits,
    fold_scores,
    image_right,
    patient_probability,
    patient_right,
)
from bench.selftest.trials import ARMS, BOOTSTRAPPED, MARGIN, PILOT_REPEATS, SPLITS, SPREAD, WIDE_MARGIN, Ready
from bench.stats.bootstrap import ScoredFold, cluster_bootstrap_ci
from bench.stats.inference import corrected_resampled_t, tost, verdict, verdicts
from bench.stats.pilot import estimate_components
from bench.stats.planning import Components, pair_ratio

CLAIMS = ("helps", "hurts")


@dataclass(frozen=True)
class Outcome:
    """Test results of N simulated comparisons with one injected effect; arrays [N], words as strings.

    ``low`` and ``high``: interval of the verdict. ``naive``, ``plain``, ``bound``: p values of McNemar over images, and
    of the t test without correction and with n_test / n_train. ``boot_low``, ``boot_high``: interval over patients, for
    every n-th comparison (else NaN).
    """

    word: npt.NDArray[np.str_]
    low: npt.NDArray[np.float64]
    high: npt.NDArray[np.float64]
    naive: npt.NDArray[np.float64]
    plain: npt.NDArray[np.float64]
    bound: npt.NDArray[np.float64]
    equal: npt.NDArray[np.float64]
    boot_low: npt.NDArray[np.float64]
    boot_high: npt.NDArray[np.float64]


def pilot_chunk(ready: Ready, studies: int, seed: int) -> list[Components]:
    """Return the variance components that the planner estimates from each of these pilots, which have no effect."""
    rng = np.random.default_rng(seed)
    folds = ready.folds.take(np.arange(studies) % SPLITS).first(PILOT_REPEATS)
    right = patient_right(ready.cohort, draw_logits(ready.cohort, folds, 2, SPREAD, rng)).astype(np.float64)
    return [estimate_components(r[1], r[0], ready.cohort.labels, f) for r, f in zip(right, folds.tested, strict=True)]


def same_arm_chunk(ready: Ready, studies: int, seed: int) -> list[str]:
    """Return the verdicts of an arm compared with a second run of the same arm."""
    rng = np.random.default_rng(seed)
    folds = ready.folds.take(np.arange(studies) % SPLITS)
    same = replace(SPREAD, lasting=0.0, training=0.0)
    right = patient_right(ready.cohort, draw_logits(ready.cohort, folds, 2, same, rng))
    scores = fold_scores(right, ready.cohort.labels, folds.tested, ready.trial.folds)
    return [verdict(d, MARGIN, ready.ratio).word for d in scores[:, 1] - scores[:, 0]]


@dataclass(frozen=True)
class Chunk:
    """Outcomes of some studies by effect, claims of their families, and mean scores."""

    outcomes: list[Outcome]
    family: list[bool]
    scores: tuple[float, float]


def chunk(ready: Ready, studies: int, seed: int) -> Chunk:
    rng = np.random.default_rng(seed)
    cohort, k = ready.cohort, ready.trial.folds
    folds = ready.folds.take(np.arange(studies) % SPLITS)
    logits = draw_logits(cohort, folds, 1 + ARMS, SPREAD, rng)
    right = patient_right(cohort, logits)
    scores = fold_scores(right, cohort.labels, folds.tested, k)
    null = scores[:, 1:] - scores[:, :1]  # [S, ARMS, J]
    family = [
        any(v.word in CLAIMS for v in verdicts({str(i): d for i, d in enumerate(s)}, MARGIN, ready.ratio).values())
        for s in null
    ]
    reference = logits[:, :1]
    outcomes = []
    for shift in ready.shifts:
        arm = logits[:, 1:2] + shift
        injected = fold_scores(patient_right(cohort, arm), cohort.labels, folds.tested, k)
        differences = (injected - scores[:, :1])[:, 0]
        naive = mcnemar(image_right(arm), image_right(reference))
        boot = _bootstrap(cohort, folds, reference, arm, seed) if shift == 0 else {}
        outcomes.append(_outcome(differences, naive, boot, ready.ratio))
    return Chunk(outcomes, family, (float(right.mean()), float(image_right(logits).mean())))


def mcnemar(arm: npt.NDArray[np.bool_], reference: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Return p [S] of McNemar's (1947) test over all images of all repeats [S, 1, R, M], taken as independent."""
    from scipy.special import chdtrc

    b = (arm & ~reference).sum(axis=(1, 2, 3)).astype(np.float64)
    c = (~arm & reference).sum(axis=(1, 2, 3)).astype(np.float64)
    return np.asarray(chdtrc(1, (b - c) ** 2 / np.maximum(b + c, 1)), dtype=np.float64)


def _outcome(
    differences: npt.NDArray[np.float64],
    naive: npt.NDArray[np.float64],
    boot: dict[int, tuple[float, float]],
    ratio: float,
) -> Outcome:
    found = [verdict(d, MARGIN, ratio) for d in differences]
    ends = [boot.get(i, (np.nan, np.nan)) for i in range(len(found))]
    return Outcome(
        word=np.array([v.word for v in found], dtype=np.str_),
        low=np.array([v.low for v in found]),
        high=np.array([v.high for v in found]),
        naive=naive,
        plain=np.array([corrected_resampled_t(d, 0.0).p for d in differences]),
        bound=np.array([corrected_resampled_t(d, ratio).p for d in differences]),
        equal=np.array([tost(d, WIDE_MARGIN, pair_ratio(ratio)) for d in differences]),
        boot_low=np.array([low for low, _ in ends]),
        boot_high=np.array([high for _, high in ends]),
    )


def _bootstrap(
    cohort: Cohort, folds: Folds, reference: npt.NDArray[np.floating], arm: npt.NDArray[np.floating], seed: int
) -> dict[int, tuple[float, float]]:
    """Return the interval over patients of every n-th study's difference."""
    found = {}
    k = folds.trained.shape[2]
    for s in range(0, len(arm), BOOTSTRAPPED):
        both = [
            [
                _scored(cohort, z[s, 0, r], folds.tested[s, r] == f, r)
                for r in range(folds.tested.shape[1])
                for f in range(k)
            ]
            for z in (arm, reference)
        ]
        interval = cluster_bootstrap_ci(both[0], reference=both[1], per_patient=True, resamples=400, seed=seed + s)
        found[s] = (interval.low, interval.high)
    return found


def _scored(cohort: Cohort, logits: npt.NDArray[np.floating], tested: npt.NDArray[np.bool_], repeat: int) -> ScoredFold:
    """Return one fold's patients with their mean probabilities, from which patient-level scores are computed."""
    right = patient_probability(cohort, logits)[tested]
    y = cohort.labels[tested]
    malignant = np.where(y == 1, right, 1 - right)
    return ScoredFold(y, np.stack([1 - malignant, malignant], axis=1), np.flatnonzero(tested).tolist(), repeat)
