"""The crossed test: by hand, its variance components, and its error rate where a plain t test over sets fails."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from bench.errors import DataError
from bench.stats.crossed import crossed_components, crossed_test


def study(rng: np.random.Generator, sets: float, groups: float, interaction: float, r: int = 8, g: int = 60):
    """One study without an effect, as standard deviations of its components."""
    return sets * rng.normal(size=(r, 1)) + groups * rng.normal(size=(1, g)) + interaction * rng.normal(size=(r, g))


def test_by_hand() -> None:
    """Means of sets 2 and 4, of groups 1, 3 and 5; rest -1, 0, 1 / 1, 0, -1: MS 6, 8 and 2."""
    found = crossed_test([[-1, 2, 5], [3, 4, 5]])
    assert found.difference == 3
    assert found.standard_error == pytest.approx(math.sqrt((6 + 8 - 2) / 6))
    assert found.dof == pytest.approx(min(2, 12**2 / (6**2 / 1 + 8**2 / 2 + 2**2 / 2)))
    assert found.p == pytest.approx(2 * stats.t.sf(3 / found.standard_error, found.dof))
    half = stats.t.ppf(0.975, found.dof) * found.standard_error
    assert (found.low, found.high) == pytest.approx((3 - half, 3 + half))
    assert (found.sets, found.groups, found.note) == (2, 3, "")


def test_without_group_component_it_is_the_paired_t_test_over_sets() -> None:
    rng = np.random.default_rng(0)
    d = study(rng, 1.0, 0.0, 0.3)
    d -= d.mean(axis=0) - d.mean()  # no difference between groups at all
    wanted = stats.ttest_1samp(d.mean(axis=1), 0)
    assert crossed_test(d).p == pytest.approx(wanted.pvalue)


def test_without_set_component_its_error_is_that_over_groups() -> None:
    d = np.tile(np.random.default_rng(1).normal(size=50), (6, 1)) + 0.2
    found = crossed_test(d)
    assert found.standard_error == pytest.approx(stats.sem(d[0]))
    assert found.dof == 10  # 2 (R - 1), not 49


def test_components_are_unbiased() -> None:
    rng = np.random.default_rng(2)
    found = [crossed_components(study(rng, 0.2, 1.0, 2.0)) for _ in range(400)]
    assert np.mean([f.sets for f in found]) == pytest.approx(0.04, abs=0.012)
    assert np.mean([f.groups for f in found]) == pytest.approx(1.0, abs=0.05)
    assert np.mean([f.interaction for f in found]) == pytest.approx(4.0, abs=0.05)


@pytest.mark.parametrize(
    "spread", [(0.1, 1.0, 1.0), (0.0, 0.0, 1.0), (0.3, 0.0, 1.0), (0.0, 1.0, 0.0), (0.1, 0.3, 1.0)]
)
def test_claims_without_an_effect_stay_below_the_level(spread: tuple[float, float, float]) -> None:
    rng, n = np.random.default_rng(5), 600
    studies = [study(rng, *spread) for _ in range(n)]
    claims = np.mean([crossed_test(d).p < 0.05 for d in studies])
    assert claims <= 0.075
    if spread == (0.1, 1.0, 1.0):
        assert claims >= 0.02  # and is no empty promise
        assert np.mean([stats.ttest_1samp(d.mean(axis=1), 0).pvalue < 0.05 for d in studies]) > 0.15


def test_undefined_results_are_nan() -> None:
    for d in ([[1.0, 2.0, 3.0]], [[1.0], [2.0]], [[0.5] * 4] * 3):
        found = crossed_test(d)
        assert math.isfinite(found.difference)
        assert all(math.isnan(x) for x in (found.p, found.low, found.high, found.standard_error, found.dof))


def test_bad_input_is_named() -> None:
    with pytest.raises(DataError, match="shape"):
        crossed_test([1.0, 2.0])
    with pytest.raises(DataError, match="not finite"):
        crossed_test([[1.0, np.nan], [1.0, 2.0]])
    with pytest.raises(DataError, match="at least 2"):
        crossed_components([[1.0, 2.0]])
