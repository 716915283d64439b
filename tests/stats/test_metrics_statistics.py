"""The corrected t test, Holm's correction and Wilson's interval against scipy, statsmodels and published examples."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from bench.errors import ConfigError
from bench.stats.inference import corrected_resampled_t, holm, mean_sd, wilson

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
def test_undefined_results_are_nan(values: list[float]) -> None:
    assert all(math.isnan(v) for v in corrected_resampled_t(values, RATIO))


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
