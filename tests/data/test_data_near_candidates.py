"""Candidates for near duplicates: descriptors turn with the picture, and copies are among the nearest."""

from __future__ import annotations

import numpy as np
import pytest
from data_sets import scene

from bench.data.near_candidates import candidates, descriptors, orientations
from bench.data.near_duplicates import turn


def thumbnails(seeds: range) -> np.ndarray:
    return np.stack([np.asarray(scene(seed, (64, 64)).convert("L")) for seed in seeds])


@pytest.mark.parametrize("seed", range(3))
def test_descriptors_of_a_turned_picture_are_the_descriptors_turned(seed: int) -> None:
    picture = np.random.default_rng(seed).integers(0, 256, (64, 64)).astype(np.uint8)
    turned = np.stack([turn(picture, k) for k in range(8)])
    versions = orientations(descriptors(picture[None]))
    np.testing.assert_allclose(descriptors(turned), np.concatenate(versions), atol=1e-3)


def test_a_turned_copy_is_the_nearest_candidate() -> None:
    pictures = thumbnails(range(60))
    pictures[40] = turn(pictures[7], 5)
    pictures[3] = turn(pictures[50], 1)
    found = candidates(pictures)
    pairs = list(zip(found.first.tolist(), found.second.tolist(), strict=True))
    assert pairs == sorted(set(pairs)), "sorted, each pair once"
    assert all(i < j for i, j in pairs)
    for (i, j), k in (((7, 40), 5), ((3, 50), 1)):
        at = pairs.index((i, j))
        assert found.rank[at] == 0
        np.testing.assert_array_equal(turn(pictures[j], int(found.orientation[at])), pictures[i])
        assert found.orientation[at] == k
    for name in ("first", "second", "orientation", "rank"):
        np.testing.assert_array_equal(getattr(candidates(pictures), name), getattr(found, name))


@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_few_pictures_are_all_candidates(n: int) -> None:
    found = candidates(thumbnails(range(1)).repeat(n, axis=0))
    assert list(zip(found.first, found.second, strict=True)) == [(i, j) for i in range(n) for j in range(i + 1, n)]


def test_candidates_grow_with_the_number_of_pictures_only() -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (400, 64, 64)).astype(np.uint8)
    for n in (100, 400):
        assert len(candidates(pictures[:n]).first) <= 8 * 8 * n
