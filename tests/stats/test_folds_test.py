"""Tests of k-fold and hold-out designs: by hand, error rates by simulation of their components, and power."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from bench.errors import ConfigError, DataError
from bench.stats.folds_test import SHARED_TRAINING, components_test, pair_means, resampled_test

G = 80


def design(
    rng: np.random.Generator, repeats: int, lasting: float, passing: float, run: float, folds: int = 5
) -> tuple[np.ndarray, np.ndarray]:
    """Differences [repeats, G] and folds, from the standard deviations of the three components."""
    fold = np.stack([rng.permutation(np.arange(G) % folds) for _ in range(repeats)])
    runs = np.take_along_axis(rng.normal(size=(repeats, folds)), fold, axis=1)
    return lasting * rng.normal(size=G) + passing * rng.normal(size=(repeats, G)) + run * runs, fold


def test_by_hand_without_spread_between_folds() -> None:
    """Two repeats of two folds with equal fold means; deviations +-1 that last in half of the groups."""
    d = np.array([[2.0, 0.0, 2.0, 0.0], [2.0, 0.0, 0.0, 2.0]])
    fold = np.array([[0, 0, 1, 1], [0, 0, 1, 1]])
    found = components_test(d, fold)
    patients, lasting = 2 / 3 / 4, 0.0  # means over repeats 2, 0, 1, 1; products of deviations 1, 1, -1, -1
    assert found.standard_error == pytest.approx(math.sqrt(patients + SHARED_TRAINING * lasting))
    assert (found.difference, found.dof, found.sets, found.groups) == (1, pytest.approx(3), 4, 4)
    one = components_test(d[:1], fold[:1])  # one repeat: all of it may last
    assert one.standard_error == pytest.approx(math.sqrt((1 + SHARED_TRAINING) * 4 / 3 / 4))
    assert "overlap" in one.note


def test_a_run_that_moves_a_whole_fold_is_counted() -> None:
    rng = np.random.default_rng(0)
    alike, fold = design(rng, 3, 0.0, 1.0, 0.0)
    moved = alike + np.array([0.0, 1.0, -1.0, 2.0, -2.0])[fold]
    small, large = components_test(alike, fold), components_test(moved, fold)
    assert large.standard_error > 2.5 * small.standard_error
    assert large.dof < 15


@pytest.mark.parametrize("repeats", [1, 3])
@pytest.mark.parametrize("parts", [(1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.3, 1.0, 0.4), (0.0, 0.5, 1.0)])
def test_claims_without_an_effect_stay_below_the_level(repeats: int, parts: tuple[float, float, float]) -> None:
    rng, n = np.random.default_rng(1), 400
    claims = np.mean([components_test(*design(rng, repeats, *parts)).p < 0.05 for _ in range(n)])
    assert claims <= 0.075
    if parts[2] == 1.0:  # a test over patients alone does not hold
        plain = [stats.ttest_1samp(design(rng, repeats, *parts)[0].mean(axis=0), 0).pvalue < 0.05 for _ in range(n)]
        assert np.mean(plain) > 0.15


def test_repeats_add_power_that_the_corrected_t_test_does_not_have() -> None:
    rng = np.random.default_rng(2)
    found = [design(rng, 3, 0.3, 1.0, 0.1) for _ in range(200)]
    effect = 0.25
    components = np.mean([components_test(d + effect, f).p < 0.05 for d, f in found])
    corrected = np.mean(
        [resampled_test(pair_means(d + effect, f), 0.25, "kfold", repeats=3).p < 0.05 for d, f in found]
    )
    assert components > 0.7 > 0.3 > corrected


def test_resampled_test_is_nadeau_and_bengio_with_the_whole_ratio_but_for_a_single_repeat() -> None:
    x = np.random.default_rng(3).normal(0.5, 1.0, 10)
    plain = stats.ttest_1samp(x, 0).statistic

    def t(ratio: float) -> float:
        return plain * math.sqrt(0.1 / (0.1 + ratio))

    for protocol, repeats, ratio in (("holdout", 1, 0.25), ("kfold", 2, 0.25), ("kfold", 1, 0.1 / 0.9)):
        found = resampled_test(x, 0.25, protocol, repeats=repeats)
        assert found.p == pytest.approx(2 * stats.t.sf(abs(t(ratio)), 9)), (protocol, repeats)
        assert (found.dof, found.sets, found.groups) == (9, 10, 0)
        assert ("6 %" in found.note) == (protocol == "holdout")


def test_pair_means_are_the_means_of_folds() -> None:
    assert pair_means([[1.0, 3.0, 5.0], [0.0, 2.0, 4.0]], [[0, 0, 1], [0, 1, 1]]) == pytest.approx([2, 5, 0, 3])


def test_undefined_results_are_nan_and_bad_input_is_named() -> None:
    assert math.isnan(components_test(np.full((2, 6), 0.1), np.tile([0, 1], (2, 3))).p)
    assert math.isnan(resampled_test([0.1], 0.25).p)
    assert math.isnan(resampled_test([], 0.25).difference)
    fold = np.array([[0, 0, 1, 1]])
    for d, f in ((np.zeros((1, 3)), fold), (np.full((1, 4), np.nan), fold), (np.zeros((1, 4)), fold * 0)):
        with pytest.raises(DataError, match=r"expected|leave out"):
            components_test(d, f)
    with pytest.raises(ConfigError, match="protocol"):
        resampled_test([0.1, 0.2], 0.25, "bootstrap")
    with pytest.raises(ConfigError, match="below 0"):
        resampled_test([0.1, 0.2], -0.25)
