"""Do the probabilities mean what they say? Expected calibration error and Brier score, on plain arrays."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

BINS = 15


def expected_calibration_error(y_true: npt.ArrayLike, y_prob: npt.ArrayLike, bins: int = BINS) -> float:
    """Return the ECE of the predicted class (Guo et al. 2017, eq. 3), in [0, 1]; 0 is best.

    ``y_true`` int [N], ``y_prob`` float [N, C]. Confidence is the largest probability of a row; M bins of equal width
    over [0, 1]: ECE = sum_m |B_m| / N * |share right in B_m - mean confidence in B_m|. It is biased upward on
    few images: a calibrated classifier does not score 0.
    """
    prob, truth = np.asarray(y_prob, dtype=np.float64), np.asarray(y_true)
    confidence, right = prob.max(axis=1), prob.argmax(axis=1) == truth
    index = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)  # bins are (low, high]
    gap = np.bincount(index, weights=right - confidence, minlength=bins)
    return float(np.abs(gap).sum() / len(truth))


def brier_score(y_true: npt.ArrayLike, y_prob: npt.ArrayLike) -> float:
    """Return the Brier score (Brier 1950); 0 is best.

    Two classes: mean of (p_1 - y)^2, in [0, 1]. More: mean over images of sum_c (p_c - y_c)^2, in [0, 2].
    """
    prob, truth = np.asarray(y_prob, dtype=np.float64), np.asarray(y_true)
    error = float(np.square(prob - np.eye(prob.shape[1])[truth]).sum(axis=1).mean())
    return error / 2 if prob.shape[1] == 2 else error
