"""Closed-form learners: equal to scikit-learn's, for many training sets at once, with rows left out by weight."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression

from bench.stats.learners import Learner, lda, logistic, patient_probability


def sets(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = np.arange(60) % 3 // 2
    x = rng.standard_normal((2, 60, 4)) + y[:, None] * np.array([1.0, 0.5, 0.0, 0.0])
    return x, y, (rng.random((2, 60)) < 0.7).astype(np.float64)


def test_lda_equals_scikit_learn() -> None:
    x, y, weight = sets()
    model = lda(x, y, weight, penalty=0.0)
    for i in range(2):
        kept = weight[i] > 0
        wanted = LinearDiscriminantAnalysis().fit(x[i][kept], y[kept]).predict_log_proba(x[i])
        # scikit-learn divides the scatter by n, here it is n - 2: the slope differs by that factor
        n = kept.sum()
        np.testing.assert_allclose(np.log(y[kept].mean() / (1 - y[kept].mean())), _prior(model, x, y, weight, i))
        slope = (wanted[:, 1] - wanted[:, 0]) @ np.linalg.pinv(np.column_stack([x[i], np.ones(60)])).T
        np.testing.assert_allclose(model.weights[i], slope[:-1] * (n - 2) / n, rtol=1e-6)


def _prior(model: object, x: np.ndarray, y: np.ndarray, weight: np.ndarray, i: int) -> float:
    kept = weight[i] > 0
    middle = (x[i][kept & (y == 0)].mean(axis=0) + x[i][kept & (y == 1)].mean(axis=0)) / 2
    return float(model.logits(middle[None, None].repeat(2, axis=0))[i, 0])  # type: ignore[attr-defined]


def test_logistic_regression_equals_scikit_learn() -> None:
    x, y, weight = sets(1)
    model = logistic(x, y, weight, penalty=2.0)
    for i in range(2):
        wanted = LogisticRegression(C=0.5, tol=1e-10, max_iter=1000).fit(x[i], y, sample_weight=weight[i])
        np.testing.assert_allclose(model.weights[i], wanted.coef_[0], atol=1e-4)
        assert model.offset[i] == pytest.approx(wanted.intercept_[0], abs=1e-4)


@pytest.mark.parametrize("learner", [lda, logistic])
def test_a_hidden_column_has_no_weight_and_left_out_rows_no_influence(learner: Learner) -> None:
    x, y, weight = sets(2)
    x[..., 3] = 0
    model = learner(x, y, weight)
    assert np.abs(model.weights[:, 3]).max() < 1e-12
    changed = np.where(weight[..., None] == 0, 99.0, x)
    np.testing.assert_allclose(learner(changed, y, weight).weights[:, :3], model.weights[:, :3], atol=1e-9)


def test_patients_mean_probability_by_hand() -> None:
    logits = np.log(np.array([0.9 / 0.1, 0.2 / 0.8, 0.4 / 0.6, 0.6 / 0.4]))
    np.testing.assert_allclose(patient_probability(logits, 2), [0.55, 0.5])
