"""Endpoints: scikit-learn's values, and published and brute-force variances of their contributions."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from bench.errors import ConfigError, DataError
from bench.metrics.calibration import brier_score, negative_log_likelihood
from bench.stats.endpoints import ENDPOINTS, chance_level, oriented, score_units

# DeLong, DeLong & Clarke-Pearson (1988): patients with ovarian cancer (albumin, total protein, K-G score, benefit of
# surgery), the 43 without missing values, as in the documentation of SAS PROC LOGISTIC, example "Comparing receiver
# operating characteristic curves", which prints the areas and standard errors of the test below.
OVARIAN = """
3.0 5.8 10 0 3.2 6.3 5 1 3.9 6.8 3 1 2.8 4.8 6 0 3.2 5.8 3 1 0.9 4.0 5 0 2.5 5.7 8 0 1.6 5.6 5 1 3.8 5.7 5 1
3.7 6.7 6 1 3.2 5.4 4 1 3.8 6.6 6 1 4.1 6.6 5 1 3.6 5.7 5 1 4.3 7.0 4 1 3.6 6.7 4 0 2.3 4.4 6 1 4.2 7.6 4 0
4.0 6.6 6 0 3.5 5.8 6 1 3.8 6.8 7 1 3.0 4.7 8 0 4.5 7.4 5 1 3.7 7.4 5 1 3.1 6.6 6 1 4.1 8.2 6 1 4.3 7.0 5 1
4.3 6.5 4 1 3.2 5.1 5 1 2.6 4.7 6 1 3.3 6.8 6 0 1.7 4.0 7 0 3.7 6.1 5 1 3.3 6.3 7 1 4.2 7.7 6 1 3.5 6.2 5 1
2.9 5.7 9 0 2.1 4.8 7 1 2.8 6.2 8 0 4.0 7.0 7 1 3.3 5.7 6 1 3.7 6.9 5 1 3.6 6.6 5 1
"""


def predictions(seed: int, n: int, classes: int, images: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rounded probabilities (with ties) of n groups; each image of a group has a class of its own if images > 1."""
    rng = np.random.default_rng(seed)
    truth = rng.permutation(np.arange(n * images) % classes)
    logits = rng.normal(size=(n * images, classes)) + np.eye(classes)[truth]
    prob = np.round(np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True), 2) + 0.01
    return truth, prob / prob.sum(axis=1, keepdims=True), np.repeat(np.arange(n), images)


@pytest.mark.parametrize(("classes", "images"), [(2, 1), (2, 3), (4, 1), (4, 3)])
def test_scores_equal_other_implementations_and_contributions_average_to_them(classes: int, images: int) -> None:
    truth, prob, group = predictions(1, 60, classes, images)
    expected = {
        "auroc": roc_auc_score(truth, prob[:, 1] if classes == 2 else prob, multi_class="ovr"),
        "log_loss": negative_log_likelihood(truth, prob),
        "brier": brier_score(truth, prob),
        "balanced_accuracy": balanced_accuracy_score(truth, prob.argmax(axis=1)),
    }
    assert set(expected) == set(ENDPOINTS)
    for endpoint, score in expected.items():
        found = score_units(endpoint, truth, prob, group)
        assert found.score == pytest.approx(score, abs=1e-12), endpoint
        assert found.contributions.shape == (60,)
        assert found.contributions.mean() == pytest.approx(score, abs=1e-12), endpoint


def test_the_published_example_of_delong() -> None:
    data = np.array(OVARIAN.split(), dtype=float).reshape(-1, 4)
    truth, n = data[:, 3].astype(int), len(data)
    tests = {"albumin": data[:, 0], "protein": data[:, 1], "k-g": 10 - data[:, 2]}
    found = {k: score_units("auroc", truth, np.stack([-x, x], axis=1), np.arange(n)) for k, x in tests.items()}

    def error(contributions: np.ndarray) -> float:
        return float(np.sqrt(contributions.var(ddof=1) / n))

    published = {"albumin": (0.7366, 0.0927), "protein": (0.6478, 0.1000), "k-g": (0.7258, 0.1028)}
    for name, values in published.items():
        assert (found[name].score, error(found[name].contributions)) == pytest.approx(values, abs=5e-5)
    assert error(found["albumin"].contributions - found["k-g"].contributions) == pytest.approx(0.0953, abs=5e-5)
    assert error(found["protein"].contributions - found["k-g"].contributions) == pytest.approx(0.1046, abs=5e-5)


def test_means_of_groups_contribute_their_own_values() -> None:
    prob = np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8]])
    assert score_units("brier", [0, 1, 0], prob, [0, 1, 2]).contributions == pytest.approx([0.01, 0.16, 0.64])
    assert score_units("log_loss", [0, 1, 0], prob, [0, 1, 2]).contributions == pytest.approx(-np.log([0.9, 0.6, 0.2]))
    zero = score_units("log_loss", [0, 1], np.array([[0.0, 1.0], [0.0, 1.0]]), [0, 1])
    assert zero.contributions == pytest.approx([-np.log(1e-6), 0])


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_the_variance_of_clustered_contributions_is_that_of_the_score(endpoint: str) -> None:
    """1,000 samples of 40 groups with 4 dependent images of both classes: predicted and seen standard deviations."""
    rng, scores, errors = np.random.default_rng(4), [], []
    for _ in range(1000):
        group = np.repeat(np.arange(40), 4)
        truth = (rng.random(160) < 0.4).astype(int)
        logit = 0.8 * truth + rng.normal(size=40)[group] + 0.5 * rng.normal(size=160) - 0.3
        p = 1 / (1 + np.exp(-logit))
        found = score_units(endpoint, truth, np.stack([1 - p, p], axis=1), group)
        scores.append(found.score)
        errors.append(found.contributions.var(ddof=1) / 40)
    assert np.sqrt(np.mean(errors)) == pytest.approx(np.std(scores), rel=0.08)


def test_an_absent_class_is_undefined_where_it_is_needed() -> None:
    prob = np.array([[0.9, 0.1], [0.4, 0.6]])
    for endpoint in ENDPOINTS:
        found = score_units(endpoint, [1, 1], prob, [0, 1])
        assert np.isnan(found.score) == (endpoint in ("auroc", "balanced_accuracy"))
    assert score_units("auroc", [0, 1], prob, [0, 1]).contributions == pytest.approx([1, 1])


def test_differences_are_oriented_and_chance_is_a_constant_prediction() -> None:
    assert oriented("auroc", [0.8], [0.7]) == pytest.approx([0.1])
    assert oriented("log_loss", [0.8], [0.7]) == pytest.approx([-0.1])
    truth = [0, 0, 0, 1]
    assert chance_level("auroc", truth, 2) == 0.5
    assert chance_level("balanced_accuracy", truth, 4) == 0.25
    assert chance_level("brier", truth, 2) == pytest.approx(0.25 * 0.75)
    assert chance_level("log_loss", truth, 2) == pytest.approx(-0.75 * np.log(0.75) - 0.25 * np.log(0.25))


def test_bad_input_is_named() -> None:
    prob = np.array([[0.9, 0.1], [0.4, 0.6]])
    with pytest.raises(ConfigError, match=r"'auc'.*auroc"):
        score_units("auc", [0, 1], prob, [0, 1])
    for truth, p, group in (
        ([0], prob, [0, 1]),
        ([0, 2], prob, [0, 1]),
        ([0, 1], prob, [0, 2]),
        ([0, 1], prob * np.nan, [0, 1]),
        ([], np.empty((0, 2)), []),
    ):
        with pytest.raises(DataError, match="expected"):
            score_units("auroc", truth, p, group)
