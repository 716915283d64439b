"""ROC and precision-recall curves on common grids, so that curves of several folds can be averaged; plain arrays.

Two classes: the one of index ``positive`` is the positive one. More: one against rest, averaged over the classes
(macro), as for the stored ``auroc`` and ``auprc``. A class without images, or with all of them, has no curve, and then
there is no average.

ROC curves are averaged vertically (Fawcett 2006, section 8.1): at equal false positive rates. Between its corners a ROC
curve is a straight line, so that its area counts ties half. A precision-recall curve is a step function whose area is
the average precision, because points on a line between two of its points cannot be reached by any threshold (Davis &
Goadrich 2006).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from bench.metrics.calibration import check_probabilities

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
STEPS: Final = 200
FPR_GRID: Final[Floats] = np.arange(STEPS + 1) / STEPS  # false positive rates, 0 to 1
RECALL_GRID: Final[Floats] = np.arange(1, STEPS + 1) / STEPS  # recalls; at recall 0 precision is 0/0


class Curve(NamedTuple):
    """A curve at the points of its grid, float64 [G] in [0, 1], and the exact area under it; all NaN if undefined."""

    values: Floats
    area: float


def roc(y_true: npt.ArrayLike, y_prob: npt.ArrayLike, positive: int = 1) -> Curve:
    """Return the true positive rate at ``FPR_GRID``, and the AUROC.

    ``y_true`` int [N], ``y_prob`` float [N, C]. Where the curve is vertical, its upper end is used. Raises
    ``DataError`` on empty or inconsistent input.
    """
    return _macro(y_true, y_prob, roc_of, positive)


def precision_recall(y_true: npt.ArrayLike, y_prob: npt.ArrayLike, positive: int = 1) -> Curve:
    """Return the precision at ``RECALL_GRID``, and the average precision (AUPRC).

    At each recall the precision of the highest threshold that reaches it. Arguments and errors as ``roc``.
    """
    return _macro(y_true, y_prob, precision_recall_of, positive)


def prevalence(y_true: npt.ArrayLike, classes: int, positive: int = 1) -> float:
    """Return the AUPRC of guessing: the share of class ``positive``; of more than two classes, their mean share."""
    return float((np.asarray(y_true) == positive).mean()) if classes == 2 else 1 / classes


def roc_of(positive: Bools, score: Floats) -> Curve:
    """Return the ROC curve of one class: ``positive`` bool [N] and the score [N] of the class."""
    hits, alarms = _thresholds(positive, score)
    if not (hits[-1] and alarms[-1]):
        return _undefined(len(FPR_GRID))
    tpr, fpr = (np.concatenate([[0.0], counts / counts[-1]]) for counts in (hits, alarms))
    return Curve(np.interp(FPR_GRID, fpr, tpr), float(np.trapezoid(tpr, fpr)))


def precision_recall_of(positive: Bools, score: Floats) -> Curve:
    """Return the precision-recall curve of one class: ``positive`` bool [N] and the score [N] of the class."""
    hits, alarms = _thresholds(positive, score)
    if not (hits[-1] and alarms[-1]):
        return _undefined(len(RECALL_GRID))
    recall, precision = hits / hits[-1], hits / (hits + alarms)
    area = float(np.diff(recall, prepend=0.0) @ precision)  # sum_n (R_n - R_n-1) P_n
    return Curve(precision[np.searchsorted(recall, RECALL_GRID, side="left")], area)


def _macro(
    y_true: npt.ArrayLike, y_prob: npt.ArrayLike, of_class: Callable[[Bools, Floats], Curve], positive: int
) -> Curve:
    truth, prob = check_probabilities(y_true, y_prob)
    classes = [positive] if prob.shape[1] == 2 else range(prob.shape[1])
    curves = [of_class(truth == k, prob[:, k]) for k in classes]
    return Curve(np.mean([c.values for c in curves], axis=0), float(np.mean([c.area for c in curves])))


def _thresholds(positive: Bools, score: Floats) -> tuple[Floats, Floats]:
    """Return how many positives and negatives score at or above each distinct value, highest first."""
    order = np.argsort(-score, kind="stable")
    ordered = score[order]
    last = np.append(ordered[1:] != ordered[:-1], True)  # of images with equal scores: they pass a threshold together
    hits = np.cumsum(positive[order])[last].astype(np.float64)
    return hits, np.flatnonzero(last) + 1 - hits


def _undefined(size: int) -> Curve:
    return Curve(np.full(size, np.nan), float("nan"))
