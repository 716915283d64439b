"""Random-effects meta-analysis: a published example, statsmodels' intervals, and coverage by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from bench.errors import ConfigError
from bench.stats.meta_analysis import combine, random_effects

# Borenstein, Hedges, Higgins & Rothstein, "Introduction to Meta-Analysis", Wiley 2009, chapter 14, data set 1:
# mean, sd and number of the treated and of the controls in six studies.
STUDIES = (
    ((94, 22, 60), (92, 20, 60)),
    ((98, 21, 65), (92, 22, 65)),
    ((98, 28, 40), (88, 26, 40)),
    ((94, 19, 200), (82, 17, 200)),
    ((98, 21, 50), (88, 22, 45)),
    ((96, 21, 85), (92, 22, 85)),
)


def hedges_g(treated: tuple[int, int, int], controls: tuple[int, int, int]) -> tuple[float, float]:
    (m1, s1, n1), (m2, s2, n2) = treated, controls
    d = (m1 - m2) / math.sqrt(((n1 - 1) * s1**2 + (n2 - 1) * s2**2) / (n1 + n2 - 2))
    j = 1 - 3 / (4 * (n1 + n2 - 2) - 1)
    return j * d, j**2 * ((n1 + n2) / (n1 * n2) + d**2 / (2 * (n1 + n2)))


def test_the_textbook_example() -> None:
    g, v = np.transpose([hedges_g(*study) for study in STUDIES])
    assert g == pytest.approx([0.095, 0.277, 0.367, 0.664, 0.462, 0.185], abs=6e-4)
    found = random_effects(g, np.sqrt(v))
    assert found.studies == 6
    assert found.q == pytest.approx(12.003, abs=0.001)
    assert found.tau**2 == pytest.approx(0.037, abs=0.0005)
    assert found.mean == pytest.approx(0.358, abs=0.001)
    assert found.i2 == pytest.approx(0.5834, abs=0.0005)
    assert found.p_alike == pytest.approx(0.0347, abs=0.0005)


def test_the_interval_is_statsmodels_hartung_and_knapp() -> None:
    from statsmodels.stats.meta_analysis import combine_effects

    y, v = np.array([-0.9, 0.1, 0.8, 1.7]), np.array([0.02, 0.03, 0.05, 0.04])
    found = random_effects(y, np.sqrt(v))
    other = combine_effects(y, v, method_re="dl", use_t=True)
    assert other.scale_hksj_re < 1.02
    low, high = other.conf_int()[1 if other.scale_hksj_re < 1 else 3]
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))
    reach = 4.302653 * math.hypot(found.tau, (found.high - found.mean) / 3.182446)  # t of 2 and of 3 degrees of freedom
    assert found.next_high == pytest.approx(found.mean + reach, rel=1e-5)
    alike = random_effects(y / 100, np.sqrt(v))  # no more variance than their errors explain
    fixed = combine_effects(y / 100, v, method_re="dl", use_t=True)
    assert fixed.tau2 < 0
    assert (alike.tau, alike.i2) == (0, 0)
    assert alike.mean == pytest.approx(fixed.mean_effect_fe)
    assert alike.low == pytest.approx(fixed.conf_int()[0][0])  # not the narrower one of an agreement by chance
    assert fixed.conf_int()[2][0] > alike.low


def test_too_few_studies_give_nan() -> None:
    found = random_effects([0.1, 0.2], [0.1, 0.1])
    assert found.studies == 2
    assert math.isnan(found.mean)
    with pytest.raises(ConfigError, match="above 0"):
        random_effects([0.1, 0.2, 0.3], [0.1, 0.0, 0.1])
    with pytest.raises(ConfigError, match="errors"):
        random_effects([0.1, 0.2, 0.3], [0.1, 0.1])


def test_equivalence_takes_a_margin() -> None:
    errors = [0.002, 0.003, 0.002, 0.004]
    assert math.isnan(random_effects([0.001, 0.002, -0.001, 0.0], errors).p_equivalent)
    assert random_effects([0.001, 0.002, -0.001, 0.0], errors, margin=0.02).p_equivalent < 0.01
    assert random_effects([0.021, 0.022, 0.020, 0.021], errors, margin=0.02).p_equivalent > 0.5


@pytest.mark.parametrize("tau", [0.0, 0.03])
def test_false_positives_of_four_sets_of_few_folds_are_controlled(tau: float) -> None:
    """Standard errors are estimated from five folds each, as in a suite; no effect on average."""
    rng = np.random.default_rng(0)
    wrong = 0
    for _ in range(400):
        true = rng.normal(0, tau, 4)
        values = rng.normal(true[:, None], 0.04, (4, 5))
        found = random_effects(values.mean(axis=1), values.std(axis=1, ddof=1) / math.sqrt(5))
        wrong += found.p < 0.05
    assert wrong / 400 < 0.085  # 5 % and two standard errors of 400, and the effect of few folds on the weights


def test_few_degrees_of_freedom_give_every_study_the_same_weight() -> None:
    y, se = [0.02, -0.01, 0.04, 0.01], [0.001, 0.02, 0.02, 0.03]
    found = combine(y, se, [4, 4, 40, 40], margin=0.1)
    wanted = stats.ttest_1samp(y, 0)
    assert (found.mean, found.p) == pytest.approx((np.mean(y), wanted.pvalue))
    assert (found.low, found.high) == pytest.approx(tuple(wanted.confidence_interval(0.95)))
    assert found.method.startswith("equal weights")
    assert found.next_low < found.low
    assert found.p_equivalent == pytest.approx(stats.ttest_1samp(y, 0.1, alternative="less").pvalue)
    many = combine(y, se, [30, 40, 40, 40])
    assert repr(many) == repr(random_effects(y, se)), "by their numbers: NaN is not equal to itself"
    assert many.method.startswith("random effects")


def test_welchs_test_of_homogeneity_is_that_of_samples() -> None:
    """Studies that are samples: statsmodels' Welch ANOVA of their means."""
    from statsmodels.stats.oneway import anova_oneway

    rng = np.random.default_rng(0)
    samples = [rng.normal(m, s, 5) for m, s in ((0.0, 1.0), (1.0, 2.0), (2.0, 0.5))]
    found = combine([x.mean() for x in samples], [stats.sem(x) for x in samples], [4, 4, 4])
    assert found.p_alike == pytest.approx(anova_oneway(samples, use_var="unequal").pvalue)


def test_a_study_without_change_counts_and_too_few_studies_do_not() -> None:
    found = combine([0.0, 0.03, 0.05], [0.0, 0.01, 0.02], [math.nan, 11, 11])
    assert found.mean == pytest.approx(0.08 / 3)
    assert found.p == pytest.approx(stats.ttest_1samp([0.0, 0.03, 0.05], 0).pvalue)
    assert math.isnan(found.p_alike)
    assert math.isnan(combine([0.1, 0.2], [0.1, 0.1], [4, 4]).mean)
    assert math.isnan(combine([0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [4, 4, 4]).p)
    with pytest.raises(ConfigError, match="degrees"):
        combine([0.1, 0.2, 0.3], [0.1, 0.1, 0.1], [4, 4])


def test_claims_with_few_degrees_of_freedom_hold_where_weights_by_error_do_not() -> None:
    """Five data sets of two differences each, with true effects that differ around 0."""
    rng, n = np.random.default_rng(1), 500
    equal = weighted = 0
    for _ in range(n):
        x = rng.normal(size=(5, 2)) * rng.uniform(0.5, 2, size=(5, 1)) + 0.5 * rng.normal(size=(5, 1))
        y, se = x.mean(axis=1), stats.sem(x, axis=1)
        equal += combine(y, se, [1] * 5).p < 0.05
        weighted += random_effects(y, se).p < 0.05
    assert equal / n <= 0.075
    assert weighted / n > 0.09
