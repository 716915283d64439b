"""Verdicts of a family of estimates: words, Holm, equivalence, minimum detectable effects."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from bench.errors import ConfigError
from bench.stats.decide import decide, equivalence
from bench.stats.estimate import t_estimate
from bench.stats.inference import holm

NAN = float("nan")


def estimate(difference: float, error: float = 0.01, dof: float = 20):
    return t_estimate("test", difference, error, dof, 12, 400)


def words(**differences: float) -> dict[str, str]:
    return {k: v.word for k, v in decide({k: estimate(d) for k, d in differences.items()}, 0.025).items()}


def test_the_words() -> None:
    assert words(up=0.05, down=-0.05) == {"up": "helps", "down": "hurts"}
    assert words(near=0.001) == {"near": "equivalent"}
    assert words(open=0.018) == {"open": "undecided"}


def test_holm_over_the_family_and_the_level_of_the_minimum_detectable_effect() -> None:
    family = {k: estimate(d) for k, d in {"a": 0.025, "b": 0.05, "c": 0.0, "d": 0.01}.items()}
    found = decide(family, 0.005, family="arms")
    assert [v.p_adjusted for v in found.values()] == pytest.approx(holm([e.p for e in family.values()]))
    assert found["a"].p < 0.05 < found["a"].p_adjusted
    assert (found["a"].word, found["b"].word) == ("undecided", "helps")
    assert {v.level for v in found.values()} == {0.05 / 4}
    detectable = found["a"].minimum_detectable_effect
    critical = stats.t.ppf(1 - 0.05 / 8, 20)
    power = stats.nct.sf(critical, 20, detectable / 0.01) + stats.nct.cdf(-critical, 20, detectable / 0.01)
    assert power == pytest.approx(0.8, abs=1e-6)
    assert detectable > decide({"a": family["a"]}, 0.005)["a"].minimum_detectable_effect
    assert (found["a"].test, found["a"].family, found["a"].sets, found["a"].groups) == ("test", "arms", 12, 400)


def test_equivalence_is_two_one_sided_tests() -> None:
    x = np.random.default_rng(0).normal(0.002, 0.01, 30)
    e = t_estimate("t", float(x.mean()), float(stats.sem(x)), 29, 30, 0)
    wanted = max(stats.ttest_1samp(x, m, alternative=a).pvalue for m, a in ((-0.01, "greater"), (0.01, "less")))
    assert equivalence(e, 0.01) == pytest.approx(wanted)
    assert decide({"x": e}, 0.01)["x"].p_equivalent == pytest.approx(wanted)


def test_no_equivalence_where_the_comparison_cannot_show_a_difference() -> None:
    found = decide({"chance": estimate(0.0), "real": estimate(0.0)}, 0.05, informative={"chance": False})
    assert (found["chance"].word, found["real"].word) == ("undecided", "equivalent")


def test_undefined_estimates_are_undecided_and_not_counted() -> None:
    found = decide({"none": estimate(0.1, NAN), "one": estimate(0.03)}, 0.01)
    assert found["none"].word == "undecided"
    assert math.isnan(found["none"].minimum_detectable_effect)
    assert found["one"].level == 0.05
    assert decide({}, 0.01) == {}
    with pytest.raises(ConfigError, match="margin"):
        decide({}, 0.0)
