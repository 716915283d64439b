"""Calibration of predicted probabilities: reliability curve, expected calibration error, Brier score; plain arrays.

Also temperature scaling, which calibrates them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from bench.errors import DataError

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
BINS = 15
TEMPERATURES = (0.05, 20.0)  # search range; at 20 hardly any confidence remains


class ReliabilityCurve(NamedTuple):
    """One entry per confidence bin over [0, 1], bins of equal width: (low, high].

    ``confidence`` float64 [M], mean in the bin, and ``accuracy`` float64 [M], share of correct images, are NaN in an
    empty bin; ``images`` int64 [M] counts them.
    """

    confidence: Floats
    accuracy: Floats
    images: Ints


SMALLEST_PROBABILITY = 1e-6  # of the true class, in log_loss: one case contributes 13.8 at most


def reliability_curve(y_true: npt.ArrayLike, y_prob: npt.ArrayLike, bins: int = BINS) -> ReliabilityCurve:
    """Return the accuracy of the predicted class by its confidence (DeGroot & Fienberg 1983).

    ``y_true`` int [N], ``y_prob`` float [N, C]. Confidence is the largest probability of a row, so with C classes it is
    never below 1/C. Raises ``DataError`` on empty or inconsistent input.
    """
    truth, prob = check_probabilities(y_true, y_prob)
    confidence, right = prob.max(axis=1), prob.argmax(axis=1) == truth
    index = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    images = np.bincount(index, minlength=bins)
    with np.errstate(invalid="ignore"):
        mean_confidence, accuracy = (np.bincount(index, v, minlength=bins) / images for v in (confidence, right))
    return ReliabilityCurve(mean_confidence, accuracy, images)


def expected_calibration_error(y_true: npt.ArrayLike, y_prob: npt.ArrayLike, bins: int = BINS) -> float:
    """Return the ECE of the predicted class (Guo et al. 2017, eq. 3), in [0, 1]; 0 is best.

    sum_m |B_m| / N * |accuracy_m - confidence_m| over the bins of ``reliability_curve``. It is biased upward on few
    images: a calibrated classifier does not score 0. Raises ``DataError`` on empty or inconsistent input.
    """
    curve = reliability_curve(y_true, y_prob, bins)
    gap = np.nan_to_num(curve.accuracy - curve.confidence)
    return float(np.abs(gap) @ curve.images / curve.images.sum())


def brier_score(y_true: npt.ArrayLike, y_prob: npt.ArrayLike) -> float:
    """Return the Brier score (Brier 1950); 0 is best.

    Two classes: mean of (p_1 - y)^2, in [0, 1]. More: mean over images of sum_c (p_c - y_c)^2, in [0, 2]. Raises
    ``DataError`` on empty or inconsistent input.
    """
    truth, prob = check_probabilities(y_true, y_prob)
    error = float(np.square(prob - np.eye(prob.shape[1])[truth]).sum(axis=1).mean())
    return error / 2 if prob.shape[1] == 2 else error


def log_loss(y_true: npt.ArrayLike, y_prob: npt.ArrayLike) -> float:
    """Return the mean of -log p of the true class, with p at least 1e-6, so that one case cannot decide the mean.

    Natural logarithm; 0 is best, 13.8 the largest value. Raises
    ``DataError`` as the others.
    """
    truth, prob = check_probabilities(y_true, y_prob)
    return float(-np.log(np.maximum(prob[np.arange(len(truth)), truth], SMALLEST_PROBABILITY)).mean())


def negative_log_likelihood(y_true: npt.ArrayLike, y_prob: npt.ArrayLike) -> float:
    """Return the mean of -log p of the true class, natural logarithm; 0 is best. Raises ``DataError`` as the others."""
    truth, prob = check_probabilities(y_true, y_prob)
    return float(-_log(prob)[np.arange(len(truth)), truth].mean())


def fit_temperature(y_true: npt.ArrayLike, y_prob: npt.ArrayLike) -> float:
    """Return the temperature T of least negative log-likelihood (Guo et al. 2017, section 4.2), within TEMPERATURES.

    ``y_true`` int [N] and ``y_prob`` float [N, C] are of *validation* images. T above 1 means that the network is
    overconfident. Returns 1 when every image is classified correctly, because the likelihood then only grows as T
    falls. Raises ``DataError`` on empty or inconsistent input.
    """
    from scipy.optimize import minimize_scalar

    truth, prob = check_probabilities(y_true, y_prob)
    if (prob.argmax(axis=1) == truth).all():
        return 1.0

    def loss(log_temperature: float) -> float:
        return negative_log_likelihood(truth, apply_temperature(prob, float(np.exp(log_temperature))))

    # Convex in 1/T, so there is one minimum along log T.
    low, high = np.log(TEMPERATURES)
    found = float(minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-6}).x)
    return float(np.exp(found)) if loss(found) < loss(0.0) else 1.0


def apply_temperature(y_prob: npt.ArrayLike, temperature: float) -> Floats:
    """Return softmax(z / T) float64 [N, C] of probabilities softmax(z) [N, C]; the largest class does not change.

    Raises ``DataError`` unless T > 0.
    """
    if not temperature > 0:
        raise DataError(f"temperature: got {temperature}, expected more than 0")
    z = _log(np.asarray(y_prob, dtype=np.float64)) / temperature
    p = np.exp(z - z.max(axis=1, keepdims=True))
    scaled: Floats = p / p.sum(axis=1, keepdims=True)
    return scaled


def _log(prob: Floats) -> Floats:
    logs: Floats = np.log(np.maximum(prob, np.finfo(np.float64).tiny))
    return logs


def check_probabilities(y_true: npt.ArrayLike, y_prob: npt.ArrayLike) -> tuple[Ints, Floats]:
    """Return int64 [N] and float64 [N, C]. Raises ``DataError`` on empty or inconsistent input."""
    truth, prob = np.asarray(y_true), np.asarray(y_prob, dtype=np.float64)
    if len(truth) == 0:
        raise DataError("no predictions to score: y_true is empty; expected at least one image")
    if truth.ndim != 1 or prob.ndim != 2 or len(prob) != len(truth) or prob.shape[1] < 2:
        raise DataError(f"expected y_true [N] and y_prob [N, C >= 2]; got {truth.shape} and {prob.shape}")
    if truth.dtype.kind not in "iu" or truth.min() < 0 or truth.max() >= prob.shape[1]:
        raise DataError(f"expected integer labels in 0..{prob.shape[1] - 1}; got {np.unique(truth)[:9]}")
    if not (np.isfinite(prob).all() and prob.min() >= 0 and np.abs(prob.sum(axis=1) - 1).max() <= 1e-3):
        raise DataError("expected probabilities: finite, not negative, rows that sum to 1 (softmax before scoring)")
    return truth.astype(np.int64), prob
