"""Claims of the verdict on simulated studies of two arms, whose predictions are those of real learners.

Each function returns one value a study, [S]: 1 where an effect is claimed, else 0. The tests are those of a report; the
plain paired t test is there for comparison and decides nothing.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numpy.random import Generator

from bench.stats.crossed import crossed_test
from bench.stats.endpoints import oriented, score_units
from bench.stats.estimate import Estimate
from bench.stats.inference import corrected_resampled_t
from bench.stats.learners import Ints, logistic
from bench.stats.simulation import (
    Curve,
    View,
    by_testing_run,
    classes,
    curve_probabilities,
    draw_folds,
    run_probabilities,
    training_patients,
)

Floats = npt.NDArray[np.float64]
Values = dict[str, Floats]
MARGIN = 0.02  # the default equivalence margin of suites
SETS, MOST_SETS = 12, 24
COHORT = (24, 58)
ENDPOINT = "auroc"


def curves(view: View, sizes: tuple[int, int], studies: int, rng: Generator) -> Values:
    """Compare two arms, the second trained on ``sizes[1]`` patients of each set, with fixed sets and stopped early."""
    y, p = curve_probabilities(Curve(MOST_SETS, sizes), view, studies, rng)
    found: dict[str, list[float]] = {"fixed": [], "plain": []}
    for probability in p:
        d = differences(y, probability)
        found["fixed"].append(claims(crossed_test(d[:SETS])))
        found["plain"].append(corrected_resampled_t(d[:SETS].mean(axis=1), 0.0).p < 0.05)
    return {name: np.array(v, dtype=np.float64) for name, v in found.items()}


def differences(y: Ints, probability: npt.NDArray[np.floating]) -> Floats:
    """Return the second arm's contributions minus the first's, [R, G], from probabilities [2, R, G]."""
    parts = [[contributions(y, p) for p in arm] for arm in probability]
    return oriented(ENDPOINT, parts[1], parts[0])


def contributions(y: Ints, probability: npt.NDArray[np.floating]) -> Floats:
    """Return the contributions of patients [G] to the endpoint."""
    both = np.stack([1 - probability, probability], axis=1)
    return score_units(ENDPOINT, y, both, np.arange(len(y))).contributions


def claims(estimate: Estimate) -> bool:
    return estimate.p < 0.05


def folds(view: View, k: int, repeats: int, doubled: bool, studies: int, rng: Generator) -> Values:
    """Compare two arms over ``k`` folds x ``repeats``; ``doubled``: the second has twice the training patients."""
    y, fold, p = _fold_predictions(view, k, repeats, doubled, studies, rng)
    found: dict[str, list[float]] = {"plain": []}
    for s in range(studies):
        d = differences(y, p[s])
        per_pair = [d[r, fold[s, r] == f].mean() for r in range(repeats) for f in range(k)]
        found["plain"].append(corrected_resampled_t(per_pair, 0.0).p < 0.05)
    return {name: np.array(v, dtype=np.float64) for name, v in found.items()}


def _fold_predictions(
    view: View, k: int, repeats: int, doubled: bool, studies: int, rng: Generator
) -> tuple[Ints, Ints, npt.NDArray[np.floating]]:
    """Return classes [P], test folds [S, R, P] and each patient's probability by the run that tests it, [S, 2, R, P].

    The second training half of a doubled arm are other patients of the same classes, one for each training patient.
    """
    y = classes(COHORT)
    fold = draw_folds(studies, repeats, y, k, rng)
    trained = training_patients(fold, k)
    both = np.stack([trained, trained], axis=1)
    if doubled:
        both = np.concatenate([both, np.stack([np.zeros_like(trained), trained], axis=1)], axis=-1)
    p = run_probabilities(np.concatenate([y, y]) if doubled else y, both, view, rng, logistic)
    return y, fold, by_testing_run(p[..., : len(y)], fold)


def hold_outs(view: View, draws: int, studies: int, rng: Generator) -> Values:
    """Compare two arms over independent hold-outs of one fifth of the patients of each class."""
    y = classes(COHORT)
    tested = draw_folds(studies, draws, y, 5, rng) == 0
    trained = ~tested
    p = run_probabilities(y, np.stack([trained, trained], axis=1), view, rng, logistic)
    found: dict[str, list[float]] = {"plain": []}
    for s in range(studies):
        per_pair = [differences(y[t], p[s, :, [j]][:, :, t].swapaxes(0, 1)).mean() for j, t in enumerate(tested[s])]
        found["plain"].append(corrected_resampled_t(per_pair, 0.0).p < 0.05)
    return {name: np.array(v, dtype=np.float64) for name, v in found.items()}
