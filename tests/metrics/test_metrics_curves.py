"""ROC and precision-recall curves against scikit-learn's, and for cases with known results."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

from bench.errors import DataError
from bench.metrics.classification import classification_metrics
from bench.metrics.curves import FPR_GRID, RECALL_GRID, precision_recall, precision_recall_of, prevalence, roc, roc_of


def scored(seed: int, n: int = 90, classes: int = 2, decimals: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Labels and probabilities with many ties."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes, n)
    y[:classes] = range(classes)
    raw = np.round(rng.random((n, classes)) + 0.4 * np.eye(classes)[y], decimals) + 0.1
    return y, raw / raw.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("seed", range(5))
def test_areas_and_curves_are_those_of_scikit_learn(seed: int) -> None:
    y, prob = scored(seed)
    score = prob[:, 1]
    found = roc_of(y == 1, score)
    assert found.area == pytest.approx(roc_auc_score(y, score), abs=1e-12)
    fpr, tpr, _ = roc_curve(y, score, drop_intermediate=False)
    assert found.values == pytest.approx(np.interp(FPR_GRID, fpr, tpr), abs=1e-9)
    found = precision_recall_of(y == 1, score)
    assert found.area == pytest.approx(average_precision_score(y, score), abs=1e-12)
    precision, recall, _ = precision_recall_curve(y, score)  # lowest threshold first
    reached = [max(i for i in range(len(recall)) if recall[i] >= r) for r in RECALL_GRID]
    assert found.values == pytest.approx(precision[reached], abs=1e-12)


@pytest.mark.parametrize("classes", [2, 3, 9])
def test_areas_are_the_stored_metrics(classes: int) -> None:
    y, prob = scored(3, 200, classes, 3)
    stored = classification_metrics(y, prob, [str(i) for i in range(len(y))])
    assert roc(y, prob).area == pytest.approx(stored["auroc"], abs=1e-12)
    assert precision_recall(y, prob).area == pytest.approx(stored["auprc"], abs=1e-12)


def test_the_drawn_curve_has_the_area_that_it_claims() -> None:
    y, prob = scored(1, 400, 2, 3)
    assert np.trapezoid(roc(y, prob).values, FPR_GRID) == pytest.approx(roc(y, prob).area, abs=0.005)
    assert precision_recall(y, prob).values.mean() == pytest.approx(precision_recall(y, prob).area, abs=0.005)


def test_precision_between_two_thresholds_is_a_step_not_a_line() -> None:
    """The best image is correct and all others tie: from recall 1/5 on, the precision of predicting all positive."""
    positive = np.array([True] * 5 + [False] * 5)
    curve = precision_recall_of(positive, np.array([0.9] + [0.5] * 9))
    assert curve.values[RECALL_GRID <= 0.2] == pytest.approx(1.0)
    assert curve.values[RECALL_GRID > 0.2] == pytest.approx(0.5)
    assert curve.area == pytest.approx(0.2 * 1 + 0.8 * 0.5)


def test_perfect_and_constant_scores() -> None:
    y = np.array([0, 0, 0, 1])
    assert roc_of(y == 1, y.astype(float)).values == pytest.approx(1.0)
    assert precision_recall_of(y == 1, y.astype(float)).area == 1.0
    assert roc_of(y == 1, np.full(4, 0.3)).values == pytest.approx(FPR_GRID)  # the chance line
    assert precision_recall_of(y == 1, np.full(4, 0.3)).values == pytest.approx(prevalence(y, 2)) == pytest.approx(0.25)
    assert prevalence(np.array([0, 1, 2, 2]), 3) == pytest.approx(1 / 3)


def test_a_class_without_images_gives_no_average() -> None:
    y, prob = scored(0, 40, 3)
    kept = y != 2
    curve = roc(y[kept], prob[kept])
    assert np.isnan(curve.values).all()
    assert np.isnan(curve.area)
    assert np.isnan(precision_recall(y[kept], prob[kept]).area)


def test_nothing_to_draw_is_an_error() -> None:
    with pytest.raises(DataError, match="at least one image"):
        roc(np.array([], dtype=int), np.zeros((0, 2)))
