"""Power of the crossed test against simulated studies, and its inverses."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bench.errors import DataError
from bench.stats.crossed import CrossedComponents, crossed_test
from bench.stats.curve_planning import (
    crossed_minimum_detectable_effect,
    crossed_power,
    expected_error,
    mean_crossed,
    sets_needed,
)

PARTS = CrossedComponents(sets=0.02**2, groups=0.15**2, interaction=0.3**2)


@pytest.mark.parametrize(("sets", "groups", "effect"), [(12, 200, 0.04), (6, 100, 0.05), (24, 60, 0.06)])
def test_power_is_the_share_of_simulated_studies(sets: int, groups: int, effect: float) -> None:
    rng, n, found = np.random.default_rng(0), 400, 0
    for _ in range(n):
        parts = 0.02 * rng.normal(size=(sets, 1)), 0.15 * rng.normal(size=(1, groups))
        found += crossed_test(effect + parts[0] + parts[1] + 0.3 * rng.normal(size=(sets, groups))).p < 0.05
    assert crossed_power(PARTS, sets, groups, effect) == pytest.approx(found / n, abs=0.075)


def test_expected_error_is_the_sum_of_the_components() -> None:
    error, dof = expected_error(PARTS, 12, 200)
    assert error == pytest.approx(math.sqrt(0.02**2 / 12 + 0.15**2 / 200 + 0.3**2 / 2400))
    assert 11 < dof < 199


def test_effects_and_sets_invert_the_power() -> None:
    effect = crossed_minimum_detectable_effect(PARTS, 12, 200, 0.8, 0.05 / 5)
    assert crossed_power(PARTS, 12, 200, effect, 0.05 / 5) == pytest.approx(0.8, abs=1e-6)
    needed = sets_needed(PARTS, 200, 0.04)
    assert needed is not None
    assert crossed_power(PARTS, needed, 200, 0.04) >= 0.8 > crossed_power(PARTS, needed - 1, 200, 0.04)
    assert sets_needed(PARTS, 20, 0.04) is None  # the test groups are too few


def test_undefined_designs_and_components_below_zero() -> None:
    assert math.isnan(crossed_power(PARTS, 1, 200, 0.1))
    assert math.isnan(crossed_minimum_detectable_effect(CrossedComponents(0, 0, 0), 12, 200))
    assert mean_crossed([CrossedComponents(-0.2, 0.1, 1.0), CrossedComponents(0.1, 0.3, 2.0)]) == CrossedComponents(
        0.0, pytest.approx(0.2), 1.5
    )
    with pytest.raises(DataError, match="at least one"):
        mean_crossed([])
