"""Near duplicates: the same picture is found in any stored form, and different pictures do not match."""

from __future__ import annotations

import io
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from data_sets import jpeg, scene
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageEnhance

from bench.data.near_duplicates import (
    MIN_CORRELATION,
    ORIENTATIONS,
    NearPair,
    candidates,
    clusters,
    look_at,
    near_pairs,
    perceptual_hashes,
    turn,
)

ORIGINAL = scene(0)
SAME_PICTURE = {
    "recompressed": lambda im: Image.open(io.BytesIO(jpeg(im, 30))),
    "half the size": lambda im: im.resize((80, 60)),
    "larger and squashed": lambda im: im.resize((300, 300)),
    "darker": lambda im: ImageEnhance.Brightness(im).enhance(0.6),
    "less contrast": lambda im: ImageEnhance.Contrast(im).enhance(0.5),
    "grey": lambda im: im.convert("L"),
    "noisy": lambda im: Image.fromarray(
        np.clip(np.asarray(im) + np.random.default_rng(1).normal(0, 8, (120, 160, 3)), 0, 255).astype(np.uint8)
    ),
    "cut by 2 %": lambda im: im.crop((2, 1, 158, 119)),
    "with callipers": lambda im: _marked(im),
}


def _marked(image: Image.Image) -> Image.Image:
    marked = image.copy()
    draw = ImageDraw.Draw(marked)
    draw.line((30, 20, 30, 90), fill="white")
    draw.text((10, 100), "RT AXILLA", fill="white")
    return marked


def pairs_of(images: list[Image.Image], cache: Path) -> list[NearPair]:
    looks = {f"{i:02d}": look_at(image) for i, image in enumerate(images)}
    return near_pairs({k: v[0] for k, v in looks.items()}, lambda sha: looks[sha][1], cache)


@pytest.mark.parametrize("change", SAME_PICTURE)
def test_one_picture_is_found_in_every_orientation(change: str, tmp_path: Path) -> None:
    changed = SAME_PICTURE[change](ORIGINAL)
    turned = [Image.fromarray(turn_colour(np.asarray(changed), k)) for k in (0, 1, 6)]
    for k, image in zip((0, 1, 6), turned, strict=True):
        (pair,) = pairs_of([image, ORIGINAL, scene(1), scene(2)], tmp_path / f"{k}")
        assert (pair.first, pair.second) == ("00", "01")
        assert pair.orientation == ORIENTATIONS[k]
        assert MIN_CORRELATION <= pair.correlation <= 1.0001


@pytest.mark.parametrize("k", range(8))
def test_swapped_pair_has_the_inverse_orientation(k: int) -> None:
    pair = NearPair("a", "b", 3, 0.9, ORIENTATIONS[k])
    back = ORIENTATIONS.index(pair.swapped().orientation)
    grey = np.arange(12).reshape(3, 4)
    np.testing.assert_array_equal(turn(turn(grey, k), back), grey)
    assert pair.swapped().swapped() == pair


def turn_colour(picture: np.ndarray, k: int) -> np.ndarray:
    return np.ascontiguousarray(np.rot90(picture[:, ::-1] if k >= 4 else picture, k % 4))


def test_different_pictures_do_not_match(tmp_path: Path) -> None:
    assert pairs_of([scene(i) for i in range(40)], tmp_path) == []


def test_a_common_surround_does_not_match(tmp_path: Path) -> None:
    """Eyes through one ophthalmoscope, moles through one dermatoscope: all have the same sharp black surround."""
    y, x = np.mgrid[0:120, 0:160]
    away = np.hypot((x - 80) / 78, (y - 60) / 58)
    images = []
    for seed in range(8):
        seen = 150 + 0.2 * (np.asarray(scene(seed + 100)).astype(float) - 128) - 60 * away[..., None]
        seen[away > 1] = 5
        images.append(Image.fromarray(np.clip(seen, 0, 255).astype(np.uint8)))
    hashes = np.stack([perceptual_hashes(look_at(i)[1].astype(np.float32)) for i in images])
    assert len({(i, j) for i, j, *_ in candidates(hashes)}) >= 8  # many of them have similar hashes
    assert pairs_of(images, tmp_path) == []
    assert len(pairs_of([*images, images[0].resize((100, 75))], tmp_path)) == 1


def test_flat_pictures_match_nothing(tmp_path: Path) -> None:
    ramp = np.broadcast_to(np.linspace(100, 104, 160), (120, 160)).astype(np.uint8)
    dot = np.full((120, 160), 200, np.uint8)
    dot[50:60, 50:60] = 0
    flat = [np.full((120, 160), v, np.uint8) for v in (0, 90, 255)]
    images = [Image.fromarray(a) for a in (*flat, ramp, dot, dot.copy())]
    assert pairs_of(images, tmp_path) == []
    assert look_at(images[0])[0] == ""


def test_half_black_copies_are_found(tmp_path: Path) -> None:
    images = []
    for seed in (5, 5, 6):
        half = np.asarray(scene(seed)).copy()
        half[:, 80:] = 0
        images.append(Image.open(io.BytesIO(jpeg(Image.fromarray(half), 80 - 30 * len(images)))))
    assert [(p.first, p.second) for p in pairs_of(images, tmp_path)] == [("00", "01")]


@given(st.integers(0, 2**32 - 1))
def test_hashes_of_a_turned_picture_are_the_hashes_turned(seed: int) -> None:
    grey = np.random.default_rng(seed).normal(size=(64, 64)).astype(np.float32)
    hashes = perceptual_hashes(grey)
    for k in range(8):
        turned = perceptual_hashes(np.ascontiguousarray(turn(grey, k)))[0]
        assert int(np.bitwise_count(turned ^ hashes[k])) <= 2  # rounding may move a bit beside the median


def test_the_hash_is_zauners(tmp_path: Path) -> None:
    """By the definition: 32 × 32, cosine transform by its sum, frequencies 1 to 8, bits above the median."""
    grey = np.random.default_rng(3).normal(size=(64, 64)).astype(np.float32)
    small = grey.reshape(32, 2, 32, 2).mean(axis=(1, 3)).astype(np.float64)
    n, k = np.arange(32), np.arange(1, 9)
    basis = np.cos(np.pi * (2 * n[None] + 1) * k[:, None] / 64)
    low = (basis @ small @ basis.T).ravel()
    expected = int("".join("1" if v > np.median(low) else "0" for v in low), 2)
    assert int(perceptual_hashes(grey)[0]) == expected


def test_candidates_are_those_of_a_plain_search() -> None:
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**63, (300, 8), dtype=np.uint64)
    hashes[7, 3] = hashes[250, 0] ^ np.uint64(5)
    hashes[250, 2] = hashes[7, 0] ^ np.uint64(0b1011)
    plain = {
        (i, j, k, (int(hashes[i, 0]) ^ int(hashes[j, k])).bit_count())
        for i, j in combinations(range(300), 2)
        for k in range(8)
        if (int(hashes[i, 0]) ^ int(hashes[j, k])).bit_count() <= 16
    }
    found = list(candidates(hashes))
    assert set(found) == plain
    assert len(found) == len(plain)
    assert (7, 250, 2, 3) in plain


def test_eight_thousand_hashes_are_compared_quickly_and_in_little_memory() -> None:
    import time
    import tracemalloc

    hashes = np.random.default_rng(0).integers(0, 2**63, (8000, 8), dtype=np.uint64)
    tracemalloc.start()
    start = time.process_time()
    assert len(list(candidates(hashes))) < 20_000  # chance: 2 in 100,000 comparisons of random bits
    assert time.process_time() - start < 10  # about 1.5 s
    assert tracemalloc.get_traced_memory()[1] < 50e6
    tracemalloc.stop()


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), max_size=25))
def test_clusters_are_the_connected_sets(edges: list) -> None:
    pairs = [(f"{a:02d}", f"{b:02d}") for a, b in edges]
    found = clusters(pairs)
    where = {name: i for i, sub_suites in enumerate(found) for name in sub_suites}
    assert sorted(where) == sorted({n for p in pairs for n in p})
    assert all(where[a] == where[b] for a, b in pairs)
    reached = {name: {name} for name in where}
    for _ in where:
        for a, b in pairs:
            reached[a] = reached[b] = reached[a] | reached[b]
    assert all(any(set(sub_suites) <= r for r in reached.values()) for sub_suites in found)


def test_pairs_are_cached_for_one_set_of_contents(tmp_path: Path) -> None:
    looks = {f"{i:02d}": look_at(image) for i, image in enumerate([ORIGINAL, ORIGINAL.resize((80, 60)), scene(9)])}
    hashes = {k: v[0] for k, v in looks.items()}
    first = near_pairs(hashes, lambda sha: looks[sha][1], tmp_path)
    assert len(first) == 1
    assert near_pairs(hashes, lambda sha: pytest.fail("looked at again"), tmp_path) == first
    (memory,) = tmp_path.glob("near-*.json")
    memory.write_text(memory.read_text()[:50])
    assert near_pairs(hashes, lambda sha: looks[sha][1], tmp_path) == first
    del hashes["01"]
    assert near_pairs(hashes, lambda sha: looks[sha][1], tmp_path) == []
