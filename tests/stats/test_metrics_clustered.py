"""Intervals of proportions of clustered answers: against Wilson's, by hand, and their coverage."""

from __future__ import annotations

import numpy as np
import pytest

from bench.stats.clustered import clustered_wilson, design_effect, difference
from bench.stats.inference import wilson
from bench.stats.proportions import newcombe


@pytest.mark.parametrize(("hits", "n"), [(0, 9), (3, 7), (20, 40), (9, 9), (1, 1)])
def test_one_answer_per_item_is_wilson(hits: int, n: int) -> None:
    assert clustered_wilson([1] * hits + [0] * (n - hits), [1] * n) == pytest.approx(wilson(hits, n))


def test_answers_that_are_all_the_same_count_once() -> None:
    hits = np.array([1, 0, 1, 1, 0, 1, 0, 0, 1, 1])
    assert design_effect(4 * hits, [4] * 10) == 4
    assert clustered_wilson(4 * hits, [4] * 10) == pytest.approx(wilson(6, 10))
    for all_alike in (0, 1):  # nothing to estimate it from: the conservative value
        assert clustered_wilson([4 * all_alike] * 10, [4] * 10) == pytest.approx(wilson(10 * all_alike, 10))
    assert design_effect([2], [3]) == 3
    assert design_effect([0, 0], [1, 3]) == pytest.approx(10 / 4)


def test_design_effect_by_hand() -> None:
    # 3 of 3, 1 of 3, 0 of 2: share 1/2; residuals 1.5, -0.5, -1; 3/2 * 3.5 / 64 over 1/4 / 8
    assert design_effect([3, 1, 0], [3, 3, 2]) == pytest.approx(1.5 * 3.5 / 64 * 32)
    assert design_effect([1, 1, 1, 1], [2, 2, 2, 2]) == 1  # more even than by chance: no narrower than independent


def test_no_answers() -> None:
    assert np.isnan([design_effect([], []), *clustered_wilson([], [])]).all()
    assert np.isnan(difference(0.5, (0.4, 0.6), np.nan, (np.nan, np.nan))).all()


def test_difference_of_independent_answers_is_newcombe() -> None:
    assert difference(7 / 10, wilson(7, 10), 2 / 8, wilson(2, 8)) == pytest.approx(newcombe(7, 10, 2, 8))


@pytest.mark.parametrize("share", [0.5, 0.85])
def test_coverage(share: float) -> None:
    """20 images by 4 raters who agree on an image (correlation 0.5): Wilson's interval has far too low coverage."""
    rng, sizes = np.random.default_rng(0), [4] * 20
    ours = naive = 0
    for _ in range(400):
        hits = rng.binomial(4, rng.beta(share, 1 - share, size=20))
        low, high = clustered_wilson(hits, sizes)
        ours += low <= share <= high
        low, high = wilson(int(hits.sum()), 80)
        naive += low <= share <= high
    assert ours / 400 > 0.92
    assert naive / 400 < 0.85
