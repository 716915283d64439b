"""Real learners without an effect: two arms learn from disjoint, equally good columns, which favours one by chance."""

from __future__ import annotations

import numpy as np
from scipy import stats

from bench.stats.crossed import crossed_test
from bench.stats.endpoints import score_units
from bench.stats.folds_test import components_test, pair_means

COLUMNS = 10


def patients(rng: np.random.Generator, y: np.ndarray) -> np.ndarray:
    """Features [P, 2 * COLUMNS]; the first half is seen by one arm, the second by the other."""
    return rng.normal(size=(len(y), 2 * COLUMNS)) + 0.45 * (y[:, None] - 0.5)


def probabilities(x: np.ndarray, y: np.ndarray, new: np.ndarray) -> np.ndarray:
    """A ridge linear discriminant."""
    means = [x[y == c].mean(axis=0) for c in (0, 1)]
    rest = x - np.where(y[:, None] == 1, means[1], means[0])
    weight = np.linalg.solve(rest.T @ rest / (len(y) - 2) + 0.1 * np.eye(x.shape[1]), means[1] - means[0])
    p = 1 / (1 + np.exp(-(new - (means[0] + means[1]) / 2) @ weight))
    return np.stack([1 - p, p], axis=1)


def arms(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return x[:, :COLUMNS], x[:, COLUMNS:]


def test_learning_curve() -> None:
    rng, crossed, plain, n = np.random.default_rng(0), 0, 0, 120
    y_set, y = (np.arange(30) % 10 < 3).astype(int), (np.arange(60) % 10 < 3).astype(int)
    for _ in range(n):
        test = patients(rng, y)
        d = np.empty((12, len(y)))
        for r in range(len(d)):
            train = patients(rng, y_set)
            a, b = (
                score_units("auroc", y, probabilities(seen, y_set, new), np.arange(len(y))).contributions
                for seen, new in zip(arms(train), arms(test), strict=True)
            )
            d[r] = b - a
        crossed += crossed_test(d).p < 0.05
        plain += stats.ttest_1samp(d.mean(axis=1), 0).pvalue < 0.05
    assert crossed / n <= 0.1
    assert plain / n >= 0.2


def test_repeated_k_fold() -> None:
    rng, components, plain, n = np.random.default_rng(1), 0, 0, 100
    y = np.repeat([1, 0], [24, 58])
    for _ in range(n):
        x = patients(rng, y)
        d, fold = np.empty((3, len(y))), np.empty((3, len(y)), dtype=int)
        for r in range(3):
            fold[r] = np.concatenate([rng.permutation(np.arange(m) % 5) for m in (24, 58)])
            p = np.empty((2, len(y), 2))
            for k in range(5):
                held = fold[r] == k
                for a, seen in enumerate(arms(x)):
                    p[a, held] = probabilities(seen[~held], y[~held], seen[held])
            a, b = (score_units("auroc", y, q, np.arange(len(y))).contributions for q in p)
            d[r] = b - a
        components += components_test(d, fold).p < 0.05
        plain += stats.ttest_1samp(pair_means(d, fold), 0).pvalue < 0.05
    assert components / n <= 0.11
    assert plain / n >= 0.2
