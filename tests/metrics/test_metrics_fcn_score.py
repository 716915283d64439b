"""The FCN score against scikit-learn, a worked example, and edge cases."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, confusion_matrix, jaccard_score

from bench.errors import DataError
from bench.metrics.fcn_score import confusion, fcn_score


def maps(seed: int, classes: int = 2, n: int = 4) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, classes, (n, 9, 7), dtype=np.uint8)


@pytest.mark.parametrize("classes", [2, 3])
def test_equals_scikit_learn(classes: int) -> None:
    reference, predicted = maps(0, classes), maps(1, classes)
    matrices = confusion(reference, predicted, classes)
    assert matrices.shape == (4, classes, classes)
    assert matrices[2].tolist() == confusion_matrix(reference[2].ravel(), predicted[2].ravel()).tolist()
    y, p = reference.ravel(), predicted.ravel()
    got = fcn_score(matrices.sum(axis=0))
    assert got["iou"] == pytest.approx(jaccard_score(y, p, average="macro"))
    assert got["foreground_iou"] == pytest.approx(jaccard_score(y, p, average=None)[1])
    assert got["pixel_accuracy"] == pytest.approx(accuracy_score(y, p))
    assert got["class_accuracy"] == pytest.approx(balanced_accuracy_score(y, p))


def test_a_worked_example() -> None:
    """10 pixels: 6 background of which 1 is predicted as nucleus, 4 nucleus of which 2 are found."""
    got = fcn_score(np.array([[5, 1], [2, 2]]))
    assert got["pixel_accuracy"] == 0.7
    assert got["class_accuracy"] == pytest.approx((5 / 6 + 2 / 4) / 2)
    assert got["foreground_iou"] == pytest.approx(2 / 5)
    assert got["iou"] == pytest.approx((5 / 8 + 2 / 5) / 2)


def test_edges() -> None:
    empty = np.zeros((2, 4, 4), np.uint8)
    alone = fcn_score(confusion(empty, empty).sum(axis=0))  # no foreground anywhere: it is excluded from the mean
    assert (alone["iou"], alone["class_accuracy"], alone["pixel_accuracy"]) == (1, 1, 1)
    assert math.isnan(alone["foreground_iou"])
    invented = fcn_score(confusion(empty, empty + 1).sum(axis=0))
    assert (invented["iou"], invented["class_accuracy"], invented["foreground_iou"]) == (0, 0, 0)
    assert all(math.isnan(v) for v in fcn_score(np.zeros((2, 2), np.int64)).values())
    assert confusion(empty[:0], empty[:0]).shape == (0, 2, 2)
    with pytest.raises(DataError, match="class 2"):
        confusion(empty + 2, empty)
    with pytest.raises(DataError, match=r"\[N, H, W\]"):
        confusion(empty, empty[:1])
