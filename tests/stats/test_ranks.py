"""Rank stability over bootstrap draws of sets and groups."""

from __future__ import annotations

import numpy as np
import pytest

from bench.errors import DataError
from bench.stats.ranks import rank_shares


def test_clear_and_unclear_ranks() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(3, 6, 50))
    found = rank_shares(noise * 0.01 + np.array([0.0, 2.0, 1.0])[:, None, None])
    np.testing.assert_array_equal(found, [[0, 0, 1], [1, 0, 0], [0, 1, 0]])
    losses = rank_shares(noise * 0.01 + np.array([0.0, 2.0, 1.0])[:, None, None], higher=False)
    np.testing.assert_array_equal(losses, [[1, 0, 0], [0, 0, 1], [0, 1, 0]])
    unclear = rank_shares(noise - noise.mean(axis=(1, 2), keepdims=True))
    assert unclear.sum(axis=0) == pytest.approx(np.ones(3))
    assert unclear.sum(axis=1) == pytest.approx(np.ones(3))
    assert unclear.max() < 0.6


def test_equal_arms_share_their_ranks_and_the_seed_decides() -> None:
    x = np.random.default_rng(1).normal(size=(1, 5, 20))
    np.testing.assert_allclose(rank_shares(np.concatenate([x, x])), 0.5)
    y = np.random.default_rng(2).normal(size=(4, 1, 20))
    np.testing.assert_array_equal(rank_shares(y, seed=3), rank_shares(y, seed=3))
    assert not np.array_equal(rank_shares(y, seed=3), rank_shares(y, seed=4))


def test_the_share_of_draws_is_the_chance_of_a_normal_difference() -> None:
    """A mean difference of one standard error over groups is positive in about 84 % of draws."""
    rng = np.random.default_rng(5)
    d = rng.normal(size=200)
    d = (d - d.mean()) / d.std(ddof=1) + 1 / np.sqrt(200)
    share = rank_shares(np.stack([np.zeros(200), d])[:, None, :], draws=4000)[1, 0]
    assert share == pytest.approx(0.841, abs=0.025)


def test_bad_input_is_named() -> None:
    for bad in (np.zeros((2, 3)), np.zeros((0, 2, 2)), np.full((2, 2, 2), np.nan)):
        with pytest.raises(DataError, match="expected"):
            rank_shares(bad)
