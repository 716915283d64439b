"""Claims of the verdict on simulated studies of two arms, whose predictions are those of real learners.

Each function returns one value a study, [S]: 1 where an effect is claimed, else 0. The tests are those of a report; the
plain paired t test is there for comparison and decides nothing.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numpy.random import Generator

from bench.stats.crossed import crossed_test
from bench.stats.decide import decide
from bench.stats.endpoints import oriented, score_units
from bench.stats.estimate import Estimate
from bench.stats.folds_test import components_test, pair_means, resampled_test
from bench.stats.learners import Ints, logistic, two_classes
from bench.stats.sequential import look
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
ALPHA = 0.05
SETS = 12
LOOKS = (6, 12, 18, 24)  # numbers of sets; a run stops early at one of them
CLAIMS = ("helps", "hurts")
COHORT = (24, 58)
ENDPOINT = "auroc"


def curves(view: View, sizes: tuple[int, int], studies: int, rng: Generator) -> Values:
    """Compare two arms over training sets, the second trained on ``sizes[1]`` patients of each.

    *fixed*: the verdict on ``SETS`` sets. *stopped*: stopped by the rule at one of the ``LOOKS``; *used* is how many
    sets that took. *equivalent*: the fixed verdict is that the arms are equivalent.
    """
    y, p = curve_probabilities(Curve(LOOKS[-1], sizes), view, studies, rng)
    found = _Found()
    for probability in p:
        d = differences(y, probability)
        found.add("plain", claims_plain(d[:SETS].mean(axis=1)))
        word = decided(crossed_test(d[:SETS]))
        found.add("fixed", word in CLAIMS)
        found.add("equivalent", word == "equivalent")
        used, claimed = stop_early(d)
        found.add("stopped", claimed)
        found.add("used", used)
    return found.arrays()


def stop_early(d: Floats) -> tuple[int, bool]:
    """Return after how many sets a run with differences [R, G] stops, and whether it claims an effect."""
    fractions = [sets / LOOKS[-1] for sets in LOOKS]
    for k, sets in enumerate(LOOKS, start=1):
        decision = look(k, fractions, crossed_test(d[:sets]))
        if decision != "continue":
            break
    return sets, decision == "stop: decided"


def folds(view: View, k: int, repeats: int, doubled: bool, studies: int, rng: Generator) -> Values:
    """Compare two arms over ``k`` folds x ``repeats``; ``doubled``: the second has twice the training patients."""
    y, fold, p = _fold_predictions(view, k, repeats, doubled, studies, rng)
    found = _Found()
    for probability, of in zip(p, fold, strict=True):
        d = differences(y, probability)
        found.add("fixed", decided(components_test(d, of)) in CLAIMS)
        found.add("plain", claims_plain(pair_means(d, of)))
    return found.arrays()


def _fold_predictions(
    view: View, k: int, repeats: int, doubled: bool, studies: int, rng: Generator
) -> tuple[Ints, Ints, npt.NDArray[np.floating]]:
    """Return classes [P], test folds [S, R, P] and each patient's probability by the run that tests it, [S, 2, R, P].

    A doubled arm is also trained on another patient of the same class for each training patient.
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
    p = run_probabilities(y, np.stack([~tested, ~tested], axis=1), view, rng, logistic)
    found = _Found()
    for s in range(studies):
        scored = [differences(y[t], p[s][:, j : j + 1, t]) for j, t in enumerate(tested[s])]
        per_pair = [d.mean() for d in scored]
        ratio = float(tested[s, 0].mean() / (~tested[s, 0]).mean())
        found.add("fixed", decided(resampled_test(per_pair, ratio, "holdout")) in CLAIMS)
        found.add("plain", claims_plain(per_pair))
    return found.arrays()


def differences(y: Ints, probability: npt.NDArray[np.floating]) -> Floats:
    """Return the second arm's contributions minus the first's, [R, G], from probabilities [2, R, G]."""
    parts = [[contributions(y, p) for p in arm] for arm in probability]
    return oriented(ENDPOINT, parts[1], parts[0])


def contributions(y: Ints, probability: npt.NDArray[np.floating]) -> Floats:
    """Return the contributions of patients [G] to the endpoint."""
    return score_units(ENDPOINT, y, two_classes(probability), np.arange(len(y))).contributions


def decided(estimate: Estimate) -> str:
    """Return the word of the verdict on a single comparison."""
    return decide({"arm": estimate}, MARGIN)["arm"].word


def claims_plain(per_pair: npt.ArrayLike) -> bool:
    """Return whether a plain paired t test claims an effect."""
    return resampled_test(per_pair, 0.0).p < ALPHA


class _Found:
    """Values of the measures, one a study."""

    def __init__(self) -> None:
        self._values: dict[str, list[float]] = {}

    def add(self, measure: str, value: float) -> None:
        self._values.setdefault(measure, []).append(value)

    def arrays(self) -> Values:
        return {name: np.array(v, dtype=np.float64) for name, v in self._values.items()}
