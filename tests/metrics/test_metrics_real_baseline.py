"""The real-vs-real baseline: scores of real images in place of synthetic ones, at equal sizes and class proportions."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bench.metrics.fidelity import frechet_distance
from bench.metrics.real_baseline import (
    counts_of,
    draw_rows,
    matched_counts,
    real_baseline_metrics,
    real_baseline_of_halves,
)


def normal(n: int, seed: int, shift: float = 0.0) -> np.ndarray:
    return (np.random.default_rng(seed).normal(size=(n, 32)) + shift).astype(np.float32)


def test_sizes_are_equal_and_reported() -> None:
    for n, m, k, rest in ((60, 50, 30, 30), (200, 50, 50, 150), (61, 500, 30, 31)):
        baseline, beside = real_baseline_of_halves(normal(n, 0), normal(m, 1), seed=0)
        for scores in (baseline, beside):
            assert (scores["n_synthetic"], scores["n_real"]) == (k, rest)


def test_a_perfect_generator_scores_the_baseline_and_a_shifted_one_more() -> None:
    gaps = []
    for seed in range(20):
        baseline, beside = real_baseline_of_halves(normal(80, seed), normal(60, 100 + seed), seed)
        gaps.append(beside["fid"] - baseline["fid"])
        assert baseline["fid"] > 5  # far from the 0 of equal distributions: the bias of few images
    assert abs(np.mean(gaps)) < 3 * np.std(gaps) / math.sqrt(len(gaps))
    baseline, beside = real_baseline_of_halves(normal(80, 0), normal(60, 1, shift=1.0), seed=0)
    assert beside["fid"] > baseline["fid"] + 20
    assert beside["kid"] > baseline["kid"] + 1


def test_the_baseline_falls_as_images_are_added() -> None:
    real = normal(400, 0)
    small, large = (real_baseline_of_halves(x, real, seed=0)[0]["fid"] for x in (real[:80], real))
    assert small > 2 * large > 0
    assert real_baseline_of_halves(real, real, seed=0)[0]["fid"] == large
    assert math.isnan(real_baseline_of_halves(real[:3], real, seed=0)[0]["fid"])


def test_its_fid_is_the_same_distance() -> None:
    a, b = normal(20, 0), normal(25, 1)
    assert real_baseline_metrics(a, b)["fid"] == pytest.approx(frechet_distance(a, b), rel=1e-5)


@pytest.mark.parametrize(
    ("wanted", "available", "expected"),
    [
        ({0: 10, 1: 10}, {0: 50, 1: 11}, {0: 10, 1: 10}),
        ({0: 60, 1: 100}, {0: 30, 1: 80}, {0: 30, 1: 50}),
        ({0: 7, 1: 3}, {0: 6, 1: 1}, {0: 2, 1: 1}),
        ({0: 7, 1: 3}, {0: 6}, {0: 0, 1: 0}),
        ({1: 4}, {0: 6, 1: 2}, {1: 2}),
    ],
)
def test_counts_keep_the_class_proportions(wanted: dict, available: dict, expected: dict) -> None:
    assert matched_counts(wanted, available) == expected


def test_rows_are_drawn_without_replacement_and_by_seed() -> None:
    labels = np.array([0, 1, 1, 0, 2, 1, 0, 0])
    rows = draw_rows(labels, {0: 3, 1: 2}, np.random.default_rng(0))
    assert counts_of(labels[rows]) == {0: 3, 1: 2}
    assert len(set(rows.tolist())) == 5
    np.testing.assert_array_equal(rows, draw_rows(labels, {0: 3, 1: 2}, np.random.default_rng(0)))
    everything = draw_rows(labels, counts_of(labels), np.random.default_rng(0))
    np.testing.assert_array_equal(everything, np.arange(8))
