"""Near duplicates: the same picture is found in any stored form, and different pictures do not match."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from data_sets import jpeg, scene
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageEnhance

from bench.data.near_duplicates import (
    MAX_THRESHOLD,
    MIN_CORRELATION,
    ORIENTATIONS,
    NearPair,
    NearPairs,
    clusters,
    look_at,
    near_pairs,
    own_threshold,
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


def search(images: list[Image.Image], cache: Path) -> NearPairs:
    looks = {f"{i:03d}": look_at(image) for i, image in enumerate(images)}
    return near_pairs([k for k, (textured, _) in looks.items() if textured], lambda sha: looks[sha][1], cache)


def pairs_of(images: list[Image.Image], cache: Path) -> list[NearPair]:
    return list(search(images, cache).pairs)


@pytest.mark.parametrize("change", SAME_PICTURE)
def test_one_picture_is_found_in_every_orientation(change: str, tmp_path: Path) -> None:
    changed = SAME_PICTURE[change](ORIGINAL)
    turned = [Image.fromarray(turn_colour(np.asarray(changed), k)) for k in (0, 1, 6)]
    for k, image in zip((0, 1, 6), turned, strict=True):
        (pair,) = pairs_of([image, ORIGINAL, scene(1), scene(2)], tmp_path / f"{k}")
        assert (pair.first, pair.second) == ("000", "001")
        assert pair.orientation == ORIENTATIONS[k]
        assert MIN_CORRELATION <= pair.correlation <= 1.0001


@pytest.mark.parametrize("k", range(8))
def test_swapped_pair_has_the_inverse_orientation(k: int) -> None:
    pair = NearPair("a", "b", 0.9, ORIENTATIONS[k])
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
    assert pairs_of(images, tmp_path) == []
    assert len(pairs_of([*images, images[0].resize((100, 75))], tmp_path)) == 1


def test_flat_pictures_match_nothing(tmp_path: Path) -> None:
    ramp = np.broadcast_to(np.linspace(100, 104, 160), (120, 160)).astype(np.uint8)
    dot = np.full((120, 160), 200, np.uint8)
    dot[50:60, 50:60] = 0
    flat = [np.full((120, 160), v, np.uint8) for v in (0, 90, 255)]
    images = [Image.fromarray(a) for a in (*flat, ramp, dot, dot.copy())]
    assert pairs_of(images, tmp_path) == []
    assert not look_at(images[0])[0]


def test_half_black_copies_are_found(tmp_path: Path) -> None:
    images = []
    for seed in (5, 5, 6):
        half = np.asarray(scene(seed)).copy()
        half[:, 80:] = 0
        images.append(Image.open(io.BytesIO(jpeg(Image.fromarray(half), 80 - 30 * len(images)))))
    assert [(p.first, p.second) for p in pairs_of(images, tmp_path)] == [("000", "001")]


# --- a set of aligned anatomy: every image is like every other


def body(patient: int) -> Image.Image:
    """A phantom chest, grey, 96 × 96: what all share is as strong as what is the patient's own."""
    shared, own = np.asarray(scene(7, (96, 96)).convert("L")), np.asarray(scene(1000 + patient, (96, 96)).convert("L"))
    noise = np.random.default_rng(patient).normal(0, 2, shared.shape)
    return Image.fromarray(np.clip(0.7 * shared + 0.5 * (own - 128.0) + noise + 20, 0, 255).astype(np.uint8))


COPIES = {
    "recompressed": lambda im, i: Image.open(io.BytesIO(jpeg(im, 50 + 10 * (i % 5)))),
    "resized": lambda im, i: im.resize((round(96 * (0.7 + 0.1 * (i % 8))),) * 2, Image.Resampling.BICUBIC),
    "another exposure": lambda im, i: ImageEnhance.Brightness(im).enhance(0.7 + 0.1 * (i % 5)),
    "less contrast": lambda im, i: ImageEnhance.Contrast(im).enhance(0.6 + 0.1 * (i % 4)),
    "cut by 5 % of a side": lambda im, i: im.crop((i % 6, 5 - i % 6, 91 + i % 6, 96 - i % 6)),
    "cut by 5 % of each side": lambda im, i: im.crop((5, 5, 91, 91)),
    "mirrored": lambda im, i: im.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
}


def test_copies_are_found_among_images_that_are_all_alike(tmp_path: Path) -> None:
    bodies = [body(patient) for patient in range(60)]
    plain = search(bodies, tmp_path / "plain")
    assert plain.pairs == ()
    assert plain.usual is not None
    assert plain.usual > 0.45, "different images of this phantom correlate"
    assert plain.threshold > plain.usual
    made = [
        (patient, COPIES[kind](bodies[patient], patient))
        for patient, kind in zip(range(42), 6 * [*COPIES], strict=True)
    ]
    found = {(p.first, p.second) for p in search([*bodies, *(image for _, image in made)], tmp_path).pairs}
    true = {(f"{patient:03d}", f"{60 + i:03d}") for i, (patient, _) in enumerate(made)}
    assert len(found & true) >= 0.95 * len(true)
    assert len(found - true) <= 1


def test_threshold_follows_the_set() -> None:
    rng = np.random.default_rng(0)
    z = rng.normal(0.7, 0.15, 5000)
    threshold, usual = own_threshold(np.tanh(z))
    assert threshold == pytest.approx(np.tanh(0.7 + 3 * 1.2816 * 0.15), abs=0.02)
    assert usual == pytest.approx(np.tanh(0.7 + 1.2816 * 0.15), abs=0.02)
    assert own_threshold(np.tanh(z - 0.6))[0] == MIN_CORRELATION
    assert own_threshold(np.tanh(z + 1))[0] == MAX_THRESHOLD
    assert own_threshold(np.full(19, 0.1)) == (0.9, None)


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
    looks = {f"{i:02d}": look_at(image)[1] for i, image in enumerate([ORIGINAL, ORIGINAL.resize((80, 60)), scene(9)])}
    first = near_pairs(looks, looks.__getitem__, tmp_path)
    assert len(first.pairs) == 1
    assert near_pairs(looks, lambda sha: pytest.fail("looked at again"), tmp_path) == first
    (memory,) = tmp_path.glob("near-*.json")
    memory.write_text(memory.read_text()[:50])
    assert near_pairs(looks, looks.__getitem__, tmp_path) == first
    assert near_pairs(["00", "02"], looks.__getitem__, tmp_path).pairs == ()
