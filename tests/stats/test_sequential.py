"""Alpha spending against published bounds, and the error rate and saving of a run that stops early."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from bench.errors import ConfigError
from bench.stats.crossed import crossed_test
from bench.stats.sequential import boundaries, conditional_power, levels, look

LOOKS = (6, 12, 18, 24)
FRACTIONS = tuple(n / LOOKS[-1] for n in LOOKS)


def test_published_bounds_of_the_obrien_fleming_spending_function() -> None:
    """Lan-DeMets bounds at two-sided 5 % as R's gsDesign and ldbounds print them."""
    assert boundaries((0.2, 0.4, 0.6, 0.8, 1.0)) == pytest.approx((4.8769, 3.3569, 2.6803, 2.2898, 2.0310), abs=2e-4)
    assert boundaries((0.5, 1.0)) == pytest.approx((2.9626, 1.9686), abs=2e-4)
    assert levels((1.0,)) == pytest.approx((0.05,))


def test_decisions() -> None:
    estimate = crossed_test(np.random.default_rng(0).normal(size=(6, 40)))

    def at(k: int, p: float) -> str:
        return look(k, FRACTIONS, dataclasses.replace(estimate, p=p))

    level = levels(FRACTIONS)
    for k in (1, 2, 3):
        assert at(k, level[k - 1] * 0.99) == "stop: decided"
        assert at(k, level[k - 1] * 1.01) == "continue"
    assert at(2, 0.9) == "stop: futile"
    assert at(1, 0.9) == "continue"
    assert at(4, level[3] * 0.99) == "stop: decided"
    assert at(4, level[3] * 1.01) == "stop: undecided"
    assert at(1, float("nan")) == "continue"
    assert (
        conditional_power(0.01, 0.5, 0.044)
        > 0.9
        > conditional_power(0.3, 0.5, 0.044)
        > conditional_power(1, 0.5, 0.044)
    )


@pytest.mark.parametrize("fractions", [(), (0.5,), (0.5, 0.5, 1.0), (0.0, 1.0), (0.5, 1.5)])
def test_fractions_must_increase_to_one(fractions: tuple[float, ...]) -> None:
    with pytest.raises(ConfigError, match="increasing"):
        levels(fractions)
    with pytest.raises(ConfigError, match="planned looks"):
        look(5, FRACTIONS, crossed_test(np.eye(3)))


def stopped(rng: np.random.Generator, effect: float) -> tuple[str, int]:
    d = effect + 0.3 * rng.normal(size=(24, 1)) + 0.5 * rng.normal(size=(1, 60)) + rng.normal(size=(24, 60))
    for k, sets in enumerate(LOOKS, 1):
        decision = look(k, FRACTIONS, crossed_test(d[:sets]))
        if decision != "continue":
            return decision, sets
    raise AssertionError("the last look always stops")


def test_the_error_rate_holds_and_sets_are_saved() -> None:
    rng = np.random.default_rng(3)
    found = [stopped(rng, 0.0) for _ in range(400)]
    assert 0.01 < np.mean([d == "stop: decided" for d, _ in found]) < 0.075
    assert np.mean([n for _, n in found]) < 20
    with_effect = [stopped(rng, 0.45) for _ in range(100)]  # five standard errors at 24 sets
    assert np.mean([d == "stop: decided" for d, _ in with_effect]) > 0.95
    assert np.mean([n for _, n in with_effect]) < 15
