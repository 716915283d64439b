"""Tests, corrections, planning and verdicts against scipy, statsmodels and published worked examples."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint
from statsmodels.stats.weightstats import DescrStatsW, ttost_paired

from bench.errors import ConfigError
from bench.stats.inference import (
    cohens_dz,
    corrected_resampled_t,
    hedges_gz,
    holm,
    mean_sd,
    rank_biserial,
    tost,
    verdict,
    verdicts,
    wilcoxon,
    wilson,
)
from bench.stats.planning import minimum_detectable_effect, pair_ratio

RATIO = 0.25  # five folds


def differences(seed: int, mean: float = 0.0, sd: float = 0.03, n: int = 10) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, sd, n)


def test_mean_sd() -> None:
    assert mean_sd([1, 2, 3, 4]) == (2.5, pytest.approx(np.std([1, 2, 3, 4], ddof=1)))
    assert mean_sd([2.0])[0] == 2
    assert math.isnan(mean_sd([2.0])[1])
    assert all(math.isnan(v) for v in mean_sd([]))


@pytest.mark.parametrize("seed", range(5))
def test_without_overlap_it_is_the_paired_t_test(seed: int) -> None:
    d = differences(seed, 0.01)
    got, wanted = corrected_resampled_t(d, 0), stats.ttest_1samp(d, 0)
    interval = wanted.confidence_interval(0.95)
    assert got == pytest.approx((wanted.statistic, wanted.pvalue, interval.low, interval.high))


def test_correction_is_the_published_factor() -> None:
    d = differences(0, 0.02)
    plain, corrected = corrected_resampled_t(d, 0), corrected_resampled_t(d, RATIO)
    assert corrected.t == pytest.approx(plain.t * math.sqrt((1 / 10) / (1 / 10 + 0.25)))
    assert corrected.p > plain.p
    assert corrected.high - corrected.low > plain.high - plain.low


def test_worked_example_of_the_scikit_learn_guide() -> None:
    """'Statistical comparison of models using grid search' prints t = 0.750 and one-sided p = 0.227 for two SVMs."""
    from sklearn.datasets import make_moons
    from sklearn.model_selection import RepeatedStratifiedKFold, cross_val_score
    from sklearn.svm import SVC

    x, y = make_moons(noise=0.352, random_state=1, n_samples=100)
    folds = RepeatedStratifiedKFold(n_splits=10, n_repeats=10, random_state=0)
    rbf, linear = (
        cross_val_score(SVC(kernel=k, random_state=0), x, y, scoring="roc_auc", cv=folds) for k in ("rbf", "linear")
    )
    got = corrected_resampled_t(rbf - linear, 10 / 90)
    assert round(got.t, 3) == 0.750
    assert round(got.p / 2, 3) == 0.227


@pytest.mark.parametrize("values", [[], [0.1], [0.02] * 5, [0.0] * 5, [0.1, float("nan"), 0.2]])
def test_undefined_results_are_nan_and_undecided(values: list[float]) -> None:
    assert all(math.isnan(v) for v in corrected_resampled_t(values, RATIO))
    assert math.isnan(tost(values, 0.01, RATIO))
    got = verdict(values, 0.01, RATIO)
    assert got.word == "undecided"
    assert math.isnan(got.p_holm)
    assert got.pairs == len(values)


@pytest.mark.parametrize("seed", range(5))
def test_holm_equals_statsmodels(seed: int) -> None:
    p = np.random.default_rng(seed).uniform(0, 0.2, 7)
    np.testing.assert_allclose(holm(p), multipletests(p, method="holm")[1])


def test_holm_by_hand_and_with_nan() -> None:
    """Holm's steps on 0.01, 0.04, 0.03, 0.005: 4 x 0.005, 3 x 0.01, 2 x 0.03, then never below the one before."""
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(holm([float("nan"), 0.02, 0.03]), [float("nan"), 0.04, 0.04])
    assert holm([]).shape == (0,)
    assert math.isnan(holm([float("nan")])[0])
    assert holm([0.9, 0.8]).max() == 1


@pytest.mark.parametrize(("mean", "margin"), [(0.0, 0.02), (0.01, 0.02), (-0.015, 0.02), (0.05, 0.02)])
def test_tost_equals_statsmodels(mean: float, margin: float) -> None:
    d = differences(3, mean, 0.01)
    assert tost(d, margin, 0) == pytest.approx(DescrStatsW(d).ttost_mean(-margin, margin)[0])
    reference = differences(4)
    assert tost(d, margin, 0) == pytest.approx(ttost_paired(reference + d, reference, -margin, margin)[0])
    assert tost(d, margin, RATIO) >= tost(d, margin, 0) or tost(d, margin, 0) > 0.5


@pytest.mark.parametrize("margin", [0, -0.1, float("nan")])
def test_a_margin_must_be_positive(margin: float) -> None:
    with pytest.raises(ConfigError, match="margin"):
        tost([0.1, 0.2], margin, RATIO)


def test_a_ratio_cannot_be_negative() -> None:
    with pytest.raises(ConfigError, match="n_train"):
        corrected_resampled_t([0.1, 0.2], -0.1)


@pytest.mark.parametrize(("k", "n"), [(0, 10), (10, 10), (3, 7), (50, 1000)])
def test_wilson_equals_statsmodels(k: int, n: int) -> None:
    assert wilson(k, n) == pytest.approx(proportion_confint(k, n, method="wilson"), abs=1e-12)


def test_wilson_published_example_and_no_trials() -> None:
    """Newcombe (1998), table I, method 3: 81 of 263 gives 0.2553 to 0.3662."""
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert all(math.isnan(v) for v in wilson(0, 0))


SLEEP = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0], [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]


def test_students_sleep_data() -> None:
    """Student (1908): ten patients, two drugs. R's documentation of t.test(paired) prints t = 4.0621, p = 0.002833,
    interval 0.7001142 to 2.4598858 on them."""
    d = np.subtract(SLEEP[1], SLEEP[0])
    got = corrected_resampled_t(d, 0)
    assert got.t == pytest.approx(4.0621, abs=5e-5)
    assert got.p == pytest.approx(0.002833, abs=5e-7)
    assert (got.low, got.high) == pytest.approx((0.7001142, 2.4598858), abs=5e-7)
    assert cohens_dz(d) == pytest.approx(4.0621 / math.sqrt(10), abs=5e-5)


@pytest.mark.parametrize("n", [1, 2, 5, 9, 15, 30, 50])
def test_wilcoxon_without_ties_is_scipys_exact(n: int) -> None:
    d = differences(n, 0.01, n=n)
    assert wilcoxon(d) == pytest.approx(stats.wilcoxon(d, method="exact").pvalue)


@pytest.mark.parametrize("seed", range(5))
def test_wilcoxon_with_ties_and_zeros_is_the_count_over_all_sign_changes(seed: int) -> None:
    d = np.random.default_rng(seed).integers(-2, 4, 9) / 10  # balanced accuracies of few patients have such values
    ranks = stats.rankdata(np.abs(d[d != 0]))
    signs = np.array(np.meshgrid(*[[0, 1]] * len(ranks))).reshape(len(ranks), -1)
    sums, seen = ranks @ signs, ranks @ (d[d != 0] > 0)
    wanted = 2 * min(np.mean(sums <= seen + 1e-9), np.mean(sums >= seen - 1e-9))
    assert wilcoxon(d) == pytest.approx(min(1, wanted))
    assert wilcoxon(d) == pytest.approx(stats.wilcoxon(d[d != 0], method=stats.PermutationMethod()).pvalue)


def test_wilcoxon_of_many_is_scipys_normal_and_of_five_no_less_than_a_sixteenth() -> None:
    d = differences(0, 0.01, n=60)
    assert wilcoxon(d) == pytest.approx(stats.wilcoxon(d, method="asymptotic").pvalue)
    assert wilcoxon([0.3, 0.4, 0.1, 0.2, 0.5]) == 0.0625
    assert wilcoxon([0.3 - 0.2, 0.2 - 0.1, -0.1]) == wilcoxon([1, 1, -1])  # equal up to rounding counts as equal


def test_rank_biserial_by_hand() -> None:
    """Ranks of 1, 2, 3, 4 with a minus on 2: (1 + 3 + 4 - 2) / 10."""
    assert rank_biserial([1, -2, 3, 4, 0]) == pytest.approx(0.6)
    assert (rank_biserial([1, 2]), rank_biserial([-1, -2])) == (1, -1)
    d = differences(2, 0.02)
    plus = stats.wilcoxon(d, alternative="greater").statistic  # the sum of positive ranks
    assert rank_biserial(d) == pytest.approx(2 * plus / 55 - 1)


def test_effect_sizes_are_the_published_ones() -> None:
    d = differences(0, 0.02)
    assert cohens_dz(d) == pytest.approx(stats.ttest_1samp(d, 0).statistic / math.sqrt(10))  # Lakens 2013, eq. 7
    m = 9
    assert hedges_gz(d) / cohens_dz(d) == pytest.approx(1 - 3 / (4 * m - 1), abs=5e-4)  # Hedges' approximation
    for df, j in ((2, 0.5642), (4, 0.7979), (9, 0.9139)):  # Hedges 1981, table 1
        x = differences(1, 0.02, n=df + 1)
        assert hedges_gz(x) / cohens_dz(x) == pytest.approx(j, abs=2e-3 if df > 2 else 1e-4)
    g = [hedges_gz(differences(s, 0.03, 0.03, 5)) for s in range(4000)]
    assert np.mean(g) == pytest.approx(1, abs=0.04)  # unbiased where d_z would say 1.25


@pytest.mark.parametrize("values", [[], [float("nan"), 0.1], [0.0, 0.0, 0.0]])
def test_no_effect_size_and_no_wilcoxon_without_differences(values: list[float]) -> None:
    assert all(math.isnan(f(values)) for f in (wilcoxon, rank_biserial, cohens_dz, hedges_gz))
    assert math.isnan(hedges_gz([0.1, 0.2]))


def test_verdicts() -> None:
    spread = np.array([-0.01, -0.005, 0, 0.005, 0.01])
    assert verdict(0.10 + spread, 0.02, RATIO).word == "helps"
    assert verdict(-0.10 + spread, 0.02, RATIO).word == "hurts"
    assert verdict(spread, 0.03, RATIO).word == "equivalent"
    assert verdict(spread, 0.005, RATIO).word == "undecided"
    assert (
        verdict(0.01 + spread / 100, 0.02, RATIO).word == "equivalent"
    )  # significantly above 0, but too small to matter


def test_a_verdict_carries_its_numbers() -> None:
    d = differences(1, 0.05)
    ratio = pair_ratio(RATIO)  # half of Nadeau & Bengio's correlation
    got, test = verdict(d, 0.02, RATIO), corrected_resampled_t(d, ratio)
    assert (got.difference, got.low, got.high, got.p, got.p_holm) == (d.mean(), test.low, test.high, test.p, test.p)
    assert got.minimum_detectable_effect == minimum_detectable_effect(d.std(ddof=1), 10, ratio)
    assert (got.margin, got.pairs) == (0.02, 10)
    assert (got.effect_size, got.p_wilcoxon) == (hedges_gz(d), wilcoxon(d))


def test_arms_of_one_claim_are_corrected_together() -> None:
    d = 0.05 + np.array([-0.06, -0.02, 0.0, 0.02, 0.06, 0.04, -0.04])
    assert verdict(d, 0.01, 0).word == "helps"
    arms = {"a": d} | {f"b{i}": differences(i, 0, 0.1, 7) for i in range(12)}
    got = verdicts(arms, 0.01, 0)
    assert got["a"].word == "undecided"
    assert got["a"].p == verdict(d, 0.01, 0).p
    assert [v.p_holm for v in got.values()] == list(holm([v.p for v in got.values()]))
    assert verdicts({}, 0.01, 0) == {}


def test_no_effect_is_claimed_at_the_stated_rate() -> None:
    words = [verdict(differences(s, 0, 0.03, 5), 0.001, 0).word for s in range(1000)]
    share = np.mean([w in ("helps", "hurts") for w in words])
    assert 0.03 < share < 0.07


def test_equal_differences_up_to_rounding_have_no_minimum_detectable_effect() -> None:
    got = verdicts({"same": np.full(5, 0.1) + np.array([0, 1, 0, 1, 0]) * 1e-17}, 0.02, 0.3)["same"]
    assert np.isnan(got.minimum_detectable_effect)
    assert got.word == "undecided"


def test_a_verdict_shows_the_p_at_nadeau_and_bengios_own_correlation_beside_its_own() -> None:
    d = [0.02, 0.05, -0.01, 0.04, 0.03]
    v = verdict(d, 0.02, 0.25)
    assert v.p_nadeau_bengio == corrected_resampled_t(d, 0.25).p
    assert v.p < v.p_nadeau_bengio
