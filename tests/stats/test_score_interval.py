"""Intervals of a score: published examples, coverage with few patients, clusters, extremes."""

from __future__ import annotations

import numpy as np
import pytest
from statsmodels.stats.proportion import proportion_confint

from bench.stats.endpoints import ENDPOINTS, score_units
from bench.stats.score_interval import ScoreInterval, agresti_coull, newcombe_auroc, over_repeats, score_interval


def sample(rng: np.random.Generator, sizes: tuple[int, ...], signal: float = 1.5) -> tuple[np.ndarray, np.ndarray]:
    truth = np.repeat(np.arange(len(sizes)), sizes)
    logit = signal * np.eye(len(sizes))[truth] + rng.normal(size=(len(truth), len(sizes)))
    prob = np.exp(logit)
    return truth, prob / prob.sum(axis=1, keepdims=True)


def probabilities(x: np.ndarray, y: np.ndarray, new: np.ndarray) -> np.ndarray:
    """A ridge linear discriminant."""
    means = [x[y == c].mean(axis=0) for c in (0, 1)]
    rest = x - np.where(y[:, None] == 1, means[1], means[0])
    weight = np.linalg.solve(rest.T @ rest / (len(y) - 2) + 0.1 * np.eye(x.shape[1]), means[1] - means[0])
    p = 1 / (1 + np.exp(-(new - (means[0] + means[1]) / 2) @ weight))
    return np.stack([1 - p, p], axis=1)


def test_auroc_ends_solve_newcombes_equation() -> None:
    """z sqrt(V(t)) is the distance to each end, with the Hanley-McNeil variance there."""
    low, high = newcombe_auroc(0.8, 12, 30)
    for t in (low, high):
        variance = t * (1 - t) * (1 + 20 * (1 - t) / (2 - t) + 20 * t / (1 + t)) / (12 * 30)
        assert abs(0.8 - t) == pytest.approx(1.959964 * np.sqrt(variance), rel=1e-5)
    assert newcombe_auroc(1.0, 12, 30)[1] == 1
    assert 0.8 < newcombe_auroc(1.0, 12, 30)[0] < 1
    assert newcombe_auroc(0.0, 12, 30) == pytest.approx(tuple(1 - x for x in newcombe_auroc(1.0, 12, 30)[::-1]))


def test_balanced_accuracy_of_one_class_at_a_time_is_agresti_and_coulls() -> None:
    truth = np.repeat([0, 1], [10, 100_000])
    right = np.concatenate([np.arange(10) < 7, np.ones(100_000, dtype=bool)])
    chosen = np.where(right, truth, 1 - truth)
    found = score_interval("balanced_accuracy", truth, np.eye(2)[chosen], np.arange(100_010))
    low, high = agresti_coull(0.7, 10)
    assert (low, high) == pytest.approx(proportion_confint(7, 10, method="agresti_coull"))
    low, high = agresti_coull(0.7, 10 / (1.1 + 1.5 / 10))
    assert found.score == pytest.approx((0.7 + 1) / 2)
    assert (found.low, found.high) == pytest.approx(((low + 1) / 2, (high + 1) / 2), abs=1e-4)


@pytest.mark.parametrize("sizes", [(12, 6), (10, 10), (58, 24)])
def test_coverage_of_the_models_scores_on_new_patients(sizes: tuple[int, int]) -> None:
    """Ridge discriminants of five folds; new patients are scored by each fold's model in turn."""
    rng, n = np.random.default_rng(1), 150
    truth, new_truth = np.repeat([0, 1], sizes), np.repeat([0, 1], [2000 * s // sum(sizes) for s in sizes])
    new_fold = np.arange(len(new_truth)) % 5
    covered = dict.fromkeys(ENDPOINTS, 0)
    for _ in range(n):
        x, new = (rng.normal(size=(len(y), 8)) + 0.6 * (y[:, None] - 0.5) for y in (truth, new_truth))
        fold = np.concatenate([rng.permutation(np.arange(m) % 5) for m in sizes])
        prob, new_prob = np.empty((len(truth), 2)), np.empty((len(new_truth), 2))
        for k in range(5):
            train = fold != k
            prob[~train] = probabilities(x[train], truth[train], x[~train])
            new_prob[new_fold == k] = probabilities(x[train], truth[train], new[new_fold == k])
        for endpoint in ENDPOINTS:
            found = score_interval(endpoint, truth, prob, np.arange(len(truth)))
            wanted = score_units(endpoint, new_truth, new_prob, np.arange(len(new_truth))).score
            covered[endpoint] += found.low <= wanted <= found.high
    assert min(covered.values()) / n >= 0.9, covered
    assert max(covered.values()) / n <= 0.993, covered


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_more_classes_than_two(endpoint: str) -> None:
    rng, n, covered = np.random.default_rng(2), 100, 0
    truth, prob = sample(rng, (12_000, 8000, 8000))
    true = score_units(endpoint, truth, prob, np.arange(len(truth))).score
    for _ in range(n):
        truth, prob = sample(rng, (12, 8, 8))
        found = score_interval(endpoint, truth, prob, np.arange(len(truth)))
        assert found.low < found.score < found.high
        covered += found.low <= true <= found.high
    assert covered / n >= 0.9


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_images_of_one_patient_do_not_narrow_the_interval(endpoint: str) -> None:
    truth, prob = sample(np.random.default_rng(2), (15, 15))
    one = score_interval(endpoint, truth, prob, np.arange(30))
    five = score_interval(endpoint, np.repeat(truth, 5), np.repeat(prob, 5, axis=0), np.repeat(np.arange(30), 5))
    assert five.score == pytest.approx(one.score)
    assert five.high - five.low == pytest.approx(one.high - one.low, rel=0.06)
    independent = score_interval(endpoint, np.repeat(truth, 5), np.repeat(prob, 5, axis=0), np.arange(150))
    assert independent.high - independent.low < 0.6 * (one.high - one.low)


def test_perfect_scores_still_have_an_interval_and_absent_classes_none() -> None:
    truth = np.repeat([0, 1], 8)
    for endpoint in ("auroc", "balanced_accuracy"):
        found = score_interval(endpoint, truth, np.eye(2)[truth], np.arange(16))
        assert (found.score, found.high) == (1, pytest.approx(1))
        assert found.low < 0.95
        assert np.isnan(score_interval(endpoint, truth * 0, np.eye(2)[truth], np.arange(16))).all()
    assert np.isnan(score_interval("brier", [0], [[0.5, 0.5]], [0]).low)


def test_repeats_are_averaged() -> None:
    found = over_repeats([ScoreInterval(0.7, 0.5, 0.8), ScoreInterval(0.8, 0.7, 1.0)])
    assert found == pytest.approx((0.75, 0.6, 0.9))
    assert np.isnan(over_repeats([])).all()
