"""Worth in patients: exact cases, its interval's coverage and its agreement with the verdict."""

from __future__ import annotations

import numpy as np
import pytest

from bench.errors import DataError
from bench.stats.crossed import crossed_test
from bench.stats.worth import worth_in_patients

SIZES = (20, 40, 80)


def curve(patients: float) -> float:
    return 0.75 + 0.05 * float(np.log2(patients / 40))


def study(rng: np.random.Generator, worth: float, spread: float = 1.0, r: int = 8, g: int = 80):
    """Contributions of the reference at every size and of an arm that is worth that many patients at 40."""
    groups = rng.normal(size=g)

    def scores(mean: float) -> np.ndarray:
        parts = 0.01 * rng.normal(size=(r, 1)) + 0.1 * rng.normal(size=(1, g)) + 0.15 * rng.normal(size=(r, g))
        return mean + spread * (0.3 * groups + parts)

    return np.stack([scores(curve(n)) for n in SIZES]), scores(curve(40 + worth))


@pytest.mark.parametrize("worth", [0.0, 10.0, 40.0, -10.0])
def test_without_noise_the_worth_is_exact_but_for_the_shape_of_the_curve(worth: float) -> None:
    none, arm = study(np.random.default_rng(0), worth, spread=1e-4)
    found = worth_in_patients(SIZES, none, arm, 40)
    assert found.value == pytest.approx(worth, abs=1.5) or (worth == 40 and found.value == np.inf)
    assert found.low < worth + 1
    assert found.high > worth - 1
    losses = worth_in_patients(SIZES, 1 - none, 1 - arm, 40, higher=False)
    assert losses.value == pytest.approx(found.value)


@pytest.mark.parametrize("exponent", [0.2, 0.5, 0.9])
def test_the_interval_allows_for_the_shape_of_the_curve(exponent: float) -> None:
    rng = np.random.default_rng(4)
    none, arm = (
        np.stack([0.9 - 2 * n**-exponent + 1e-6 * rng.normal(size=(6, 30)) for n in sizes]) for sizes in (SIZES, (55,))
    )
    found = worth_in_patients(SIZES, none, arm[0], 40)
    assert found.value == pytest.approx(15, abs=0.05 if exponent == 0.5 else 1.5)
    assert found.low < 15 < found.high
    assert found.high - found.low < 4


def test_beyond_the_curve() -> None:
    rng = np.random.default_rng(1)
    none, arm = study(rng, 0.0, spread=1e-3)
    above = worth_in_patients(SIZES, none, arm + 0.2, 40)
    assert (above.value, above.low, above.high, above.kind) == (np.inf, np.inf, np.inf, "more than the curve shows")
    below = worth_in_patients(SIZES, none, arm - 0.2, 40)
    assert (below.value, below.low, below.high, below.kind) == (-np.inf, -np.inf, -np.inf, "below 0")
    assert worth_in_patients(SIZES, none, arm - 0.02, 40).kind == "below 0"


def test_a_curve_that_falls_by_chance_is_made_increasing_and_a_flat_one_shows_nothing() -> None:
    rng = np.random.default_rng(2)
    level = np.array([0.70, 0.80, 0.78])[:, None, None] + 1e-6 * rng.normal(size=(3, 6, 30))
    arm = 0.75 + 1e-6 * rng.normal(size=(6, 30))
    share = (0.75 - 0.70) / (0.79 - 0.70)
    assert worth_in_patients(SIZES, level, arm, 20).value == pytest.approx(
        (20**-0.5 - share * (20**-0.5 - 40**-0.5)) ** -2 - 20, abs=0.01
    )
    none, _ = study(rng, 0.0)
    flat = none - none.mean(axis=(1, 2), keepdims=True)
    unknown = worth_in_patients(SIZES, flat, none[1] - none[1].mean(), 40)
    assert (unknown.low, unknown.high) == (-np.inf, np.inf)


def test_the_interval_covers_a_known_worth_and_agrees_with_the_verdict() -> None:
    rng, n, covered = np.random.default_rng(3), 300, 0
    for _ in range(n):
        none, arm = study(rng, 12.0)
        found = worth_in_patients(SIZES, none, arm, 40)
        covered += found.low <= 12.0 <= found.high
        assert (found.low <= 0 <= found.high) == (crossed_test(arm - none[1]).p >= 0.05)
    assert 0.92 <= covered / n <= 0.985


def test_bad_input_is_named() -> None:
    none, arm = study(np.random.default_rng(0), 0.0)
    for sizes, curves, scores, size in (
        ((20, 40), none, arm, 40),
        (SIZES, none, arm[:4], 40),
        (SIZES, none, arm, 30),
        ((20, 80, 40), none, arm, 40),
        (SIZES, none * np.nan, arm, 40),
    ):
        with pytest.raises(DataError, match="expected"):
            worth_in_patients(sizes, curves, scores, size)
