"""Temperature scaling recovers the temperature of a network's logits and never increases the loss."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from bench.errors import DataError
from bench.metrics.calibration import (
    apply_temperature,
    expected_calibration_error,
    fit_temperature,
    negative_log_likelihood,
)


def softmax(z: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def drawn(temperature: float, classes: int, n: int = 40_000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Labels drawn from softmax(z), and the probabilities softmax(T z) of a network."""
    rng = np.random.default_rng(seed)
    z = rng.normal(0, 1.5, (n, classes))
    truth = (rng.random((n, 1)) > softmax(z).cumsum(axis=1)).sum(axis=1).clip(max=classes - 1)
    return truth, softmax(z * temperature)


@pytest.mark.parametrize(("temperature", "classes"), [(0.5, 2), (1.0, 3), (2.5, 2), (4.0, 9)])
def test_a_known_temperature_is_found(temperature: float, classes: int) -> None:
    truth, prob = drawn(temperature, classes)
    found = fit_temperature(truth, prob)
    assert found == pytest.approx(temperature, rel=0.04)
    assert expected_calibration_error(truth, apply_temperature(prob, found)) < 0.01


@pytest.mark.parametrize("seed", range(20))
def test_likelihood_on_validation_is_never_worse(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth, prob = rng.integers(3, size=12), softmax(rng.normal(0, 6, (12, 3)))
    scaled = apply_temperature(prob, fit_temperature(truth, prob))
    assert negative_log_likelihood(truth, scaled) <= negative_log_likelihood(truth, prob)
    assert (scaled.argmax(axis=1) == prob.argmax(axis=1)).all()
    assert scaled.sum(axis=1) == pytest.approx(1)


def test_an_undefined_temperature_is_one() -> None:
    assert (
        fit_temperature([0, 1, 1], [[0.9, 0.1], [0.4, 0.6], [0.2, 0.8]]) == 1.0
    )  # all correct: the likelihood has no maximum


def test_certainty_is_scaled_too() -> None:
    truth, prob = [0, 1, 1, 0], [[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 0.0]]
    temperature = fit_temperature(truth, prob)
    assert temperature > 5
    assert np.isfinite(apply_temperature(prob, temperature)).all()
    assert apply_temperature([[0.8, 0.2]], 1.0) == pytest.approx(np.array([[0.8, 0.2]]))


def test_invalid_input_is_reported() -> None:
    with pytest.raises(DataError, match="more than 0"):
        apply_temperature([[0.5, 0.5]], 0.0)
    with pytest.raises(DataError, match="at least one image"):
        fit_temperature(np.zeros(0, int), np.zeros((0, 2)))
