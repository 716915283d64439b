"""Memorisation metrics on plain arrays: neighbours and AuthPct against brute force; false positive rate and recall."""

from __future__ import annotations

import io
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from breakhis_part import part_of_breakhis
from PIL import Image, ImageFilter

from bench.data.cache import ImageCache
from bench.data.sets.breakhis import BreakHis, BreakHisConfig
from bench.data.sets.phantom import Phantom, PhantomConfig
from bench.errors import DataError
from bench.metrics import memorization
from bench.metrics.memorization import (
    SAME_PICTURE,
    SINGLED_OUT,
    TURNED,
    MemorisationTest,
    Neighbours,
    authentic,
    confirmed,
    memorisation_threshold,
    nearest,
    thumbnails,
)

RNG = np.random.default_rng(0)
TRAIN, MADE = RNG.normal(size=(40, 6)), RNG.normal(size=(30, 6))
PATIENTS = np.arange(40) // 4


def brute(queries: np.ndarray, references: np.ndarray, allowed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (distance, index) of the nearest allowed reference, one pair at a time."""
    distance, index = [], []
    for i, q in enumerate(queries):
        found = [(float(np.linalg.norm(q - r)), j) for j, r in enumerate(references) if allowed[i, j]]
        d, j = min(found)
        distance.append(d)
        index.append(j)
    return np.array(distance), np.array(index)


def test_neighbours_are_those_of_brute_force(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memorization, "BLOCK", 3 * 40)  # three queries per block: several blocks, the last one shorter
    itself = np.arange(40)
    for found, allowed, queries in (
        (nearest(MADE, TRAIN), np.ones((30, 40), bool), MADE),
        (nearest(TRAIN, TRAIN, itself, itself), ~np.eye(40, dtype=bool), TRAIN),
        (nearest(TRAIN, TRAIN, PATIENTS, PATIENTS), PATIENTS[:, None] != PATIENTS, TRAIN),
    ):
        distance, index = brute(queries, TRAIN, allowed)
        np.testing.assert_allclose(found.distance[:, 0], distance, rtol=1e-12)
        np.testing.assert_array_equal(found.index[:, 0], index)
        assert (np.diff(found.distance, axis=1) >= 0).all()
        assert found.distance.shape == (len(queries), 10)
    with pytest.raises(DataError, match="expected vectors"):
        nearest(MADE, TRAIN[:, :5])
    with pytest.raises(DataError, match="not finite"):
        nearest(np.full((2, 6), np.nan), TRAIN)


def test_authpct_is_the_published_definition() -> None:
    """Alaa et al. 2022: authentic where d(s, x*) > d(x*, nearest other training image), x* the nearest to s."""
    near, own = nearest(MADE, TRAIN), nearest(TRAIN, TRAIN, np.arange(40), np.arange(40))
    expected = []
    for s in MADE:
        star = min(range(40), key=lambda j: float(np.linalg.norm(s - TRAIN[j])))
        radius = min(float(np.linalg.norm(TRAIN[star] - TRAIN[j])) for j in range(40) if j != star)
        expected.append(float(np.linalg.norm(s - TRAIN[star])) > radius)
    np.testing.assert_array_equal(authentic(near, own), expected)
    test = MemorisationTest(TRAIN, PATIENTS, 0.01)
    assert test.evaluate(MADE).authpct == pytest.approx(100 * np.mean(expected))
    assert 0 < np.mean(expected) < 1
    assert test.evaluate(TRAIN).authpct == 0.0  # an exact copy is never authentic
    assert test.evaluate(MADE + 100).authpct == 100.0
    assert np.isnan(test.evaluate(MADE[:0]).authpct)


def test_relative_distance_is_small_only_for_a_single_nearest_image() -> None:
    found = Neighbours(
        np.array([[0.0, 2.0, 4.0], [3.0, 3.0, 3.0], [0, 0, 0], [1.0, np.inf, np.inf], [np.inf] * 3]), None
    )  # type: ignore[arg-type]
    np.testing.assert_allclose(found.relative, [0.0, 1.0, 0.0, 1.0, np.nan])
    assert Neighbours(np.array([[1.0, 3.0, 5.0]]), None).relative[0] == pytest.approx(1 / 3)  # type: ignore[arg-type]


def relative(values: np.ndarray) -> Neighbours:
    """Return neighbours with these relative distances, out of two."""
    return Neighbours(np.stack([values, 2 - values], axis=1), np.zeros((len(values), 2), dtype=np.int64))


def test_the_threshold_is_a_rank_among_training_images_without_duplicates() -> None:
    values = np.linspace(0.5, 0.698, 199)
    fitted = memorisation_threshold(relative(values), 0.01)
    assert (fitted.value, fitted.promised) == (pytest.approx(values[1]), 2 / 200)
    few = memorisation_threshold(relative(values[:50]), 0.01)
    assert (few.value, few.promised) == (pytest.approx(values[0]), 1 / 51)  # more than requested, and reported
    with_same = memorisation_threshold(relative(np.concatenate([np.zeros(60), np.full(40, 0.1), values])), 0.01)
    assert (with_same.value, with_same.promised) == (
        fitted.value,
        pytest.approx(102 / 300),
    )  # further duplicates change nothing
    capped = memorisation_threshold(relative(np.full(20, 0.95)), 0.1)
    assert (capped.value, capped.promised) == (SINGLED_OUT, pytest.approx(1 / 21))
    only_same = memorisation_threshold(relative(np.zeros(8)), 0.01)
    assert (only_same.value, only_same.promised) == (SAME_PICTURE, 1.0)


def test_duplicates_of_one_patient_do_not_raise_the_rate_for_other_patients() -> None:
    pairs = np.repeat(np.random.default_rng(6).normal(size=(50, 20)), 2, axis=0)
    test = MemorisationTest(pairs + 0.01 * np.random.default_rng(7).normal(size=pairs.shape), np.arange(100) // 2, 0.01)
    assert (test.threshold.value, test.threshold.promised) == (SAME_PICTURE, 1.0)
    assert test.across_patients.value == SINGLED_OUT
    assert test.promised_across_patients == 1 / 101
    assert test.evaluate(pairs).copied.all()
    assert set(test.values()) >= {"threshold", "promised", "promised_across_patients"}


@pytest.mark.parametrize("dimensions", [2, 5, 8])  # the fewer images, the more often one is much nearer than the rest
def test_new_images_are_flagged_at_the_promised_rate(dimensions: int) -> None:
    flagged, promised = [], []
    for seed in range(60):
        draw = np.random.default_rng([dimensions, seed]).standard_t(3, size=(300, dimensions))
        test = MemorisationTest(draw[:99], np.arange(99) // 3, 0.05)
        flagged.append(test.evaluate(draw[99:]).copied.mean())
        promised.append(test.threshold.promised)
    error = np.std(np.subtract(flagged, promised)) / np.sqrt(60)
    assert np.mean(flagged) == pytest.approx(np.mean(promised), abs=3 * error + 0.005)


def test_thumbnails_are_robust_to_rotation_noise_and_stain() -> None:
    image = np.random.default_rng(2).integers(0, 256, (1, 32, 32, 3), dtype=np.uint8)
    flat = thumbnails(image)
    for k, view in enumerate(np.rot90(m, t, (1, 2)) for m in (image, image[:, :, ::-1]) for t in range(4)):
        np.testing.assert_allclose(thumbnails(np.ascontiguousarray(view)), flat[:, TURNED[k]], atol=1e-12)
        assert nearest(thumbnails(np.ascontiguousarray(view)), flat, versions=TURNED).distance[0, 0] == 0
    half = (image // 2).astype(np.uint8)
    stained = half + np.array([40, 5, 60], dtype=np.uint8)
    np.testing.assert_allclose(thumbnails(half), thumbnails(stained), atol=1e-12)
    ramp = np.zeros((2, 64, 64, 3), dtype=np.uint8)
    ramp[1, :, 32:] = 100  # without its mean: -50 and 50, so 50 grey levels from the flat one
    assert nearest(thumbnails(ramp[:1]), thumbnails(ramp[1:])).distance[0, 0] == pytest.approx(50)
    assert thumbnails(image[:0]).shape == (0, 3072)


def test_memory_does_not_grow_with_the_square_of_the_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memorization, "BLOCK", 2**17)
    x = np.random.default_rng(3).normal(size=(2000, 8))
    tracemalloc.start()
    nearest(x, x, np.arange(2000), np.arange(2000))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 6 * 8 * memorization.BLOCK < 8 * 2000**2


def jpeg(images: np.ndarray) -> np.ndarray:
    def one(image: np.ndarray) -> np.ndarray:
        file = io.BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=60)
        return np.asarray(Image.open(file))

    return np.stack([one(i) for i in images])


def noisy(images: np.ndarray) -> np.ndarray:
    return np.clip(images + np.random.default_rng(4).normal(0, 12, images.shape), 0, 255).astype(np.uint8)


def stained(images: np.ndarray) -> np.ndarray:
    shift = np.random.default_rng(5).normal(0, 10, (len(images), 1, 1, 3))
    return np.clip(images + shift, 0, 255).astype(np.uint8)


COPIES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "exact": lambda x: x,
    "jpeg": jpeg,
    "noisy": noisy,
    "mirrored, then jpeg": lambda x: jpeg(np.ascontiguousarray(x[:, :, ::-1])),
    "turned": lambda x: np.ascontiguousarray(np.rot90(x, 1, (1, 2))),
    "another stain": stained,
    "one fifth of another image": lambda x: (0.8 * x + 0.2 * np.roll(x, 7, axis=0)).astype(np.uint8),
}


def check_copies_and_novelties(images: np.ndarray, patients: np.ndarray) -> None:
    held_out = np.isin(patients, np.unique(patients)[::4])
    train, novel = images[~held_out], images[held_out]
    test = MemorisationTest(thumbnails(train), patients[~held_out], 0.005, TURNED)
    for name, spoil in COPIES.items():
        assert test.evaluate(thumbnails(spoil(train))).copied.mean() > 0.95, name
    scored = test.evaluate(thumbnails(novel))
    assert scored.copied.mean() <= test.promised_across_patients + 2 / len(novel)
    assert scored.authentic.mean() > 0.7
    blurred = [np.asarray(Image.fromarray(i).filter(ImageFilter.GaussianBlur(4))) for i in novel]
    assert test.evaluate(thumbnails(np.stack(blurred))).copied.mean() <= 2 / len(
        novel
    )  # blurred images are not flagged


def test_an_image_is_memorised_only_if_near_in_every_space() -> None:
    """Two copies: one is near in both spaces, the other has the pixels of one training image, the features of noise."""
    rng = np.random.default_rng(8)
    pixels, features = rng.normal(size=(60, 30)), rng.normal(size=(60, 12))
    patients = np.arange(60) // 3
    tests = {
        "pixels": MemorisationTest(pixels, patients, 0.005),
        "features": MemorisationTest(features, patients, 0.005, reach=1.5),
    }
    at = {"pixels": pixels[:3].copy(), "features": features[:3].copy()}
    at["features"][1] = 9.0  # far from every training image
    at["pixels"][2] = -9.0
    results = {s: t.evaluate(at[s]) for s, t in tests.items()}
    assert [list(r.copied) for r in results.values()] == [[True, True, False], [True, False, True]]
    both = confirmed(results, tests, at)
    assert [list(r.memorised) for r in both.values()] == [[True, False, False], [True, False, False]]
    assert tests["features"].is_near(features[:3] + 1e-3, np.arange(3)).all()
    turned = MemorisationTest(thumbnails(np.zeros((4, 32, 32, 3), np.uint8)), np.arange(4), 0.1, TURNED)
    assert turned.is_near(thumbnails(np.zeros((2, 32, 32, 3), np.uint8)), np.array([0, 3])).all()


def pictures(dataset: Any, root: Path | None, folder: Path, size_px: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the images of the data set, and the patients."""
    index = dataset.index(root, folder)
    return np.asarray(ImageCache(folder / "c").load(index, size_px)), np.array([r.group_id for r in index.records])


@pytest.fixture(scope="module")
def real(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[np.ndarray, np.ndarray]:
    """Every third image of BreakHis, and the patients."""
    folder = tmp_path_factory.mktemp("real")
    return pictures(BreakHis(BreakHisConfig()), part_of_breakhis(real_data, folder, 3), folder, 64)


def test_injected_copies_are_found_among_phantom_images(tmp_path: Path) -> None:
    images, patients = pictures(Phantom(PhantomConfig(48, 12, images_per_patient=8)), None, tmp_path, 48)
    check_copies_and_novelties(images, patients)


@pytest.mark.realdata
def test_injected_copies_are_found_among_real_images(real: tuple[np.ndarray, np.ndarray]) -> None:
    check_copies_and_novelties(*real)


@pytest.mark.realdata
def test_noise_and_blurred_images_are_not_memorised_and_copies_are(real: tuple[np.ndarray, np.ndarray]) -> None:
    """Features alone flag noise; pixels and features together do not."""
    from bench.metrics.features import FeatureExtractor

    images, patients = real
    held_out = np.isin(patients, np.unique(patients)[::4])
    train, novel = images[~held_out], images[held_out][:16]
    extract = FeatureExtractor("tf_efficientnet_lite0", None, 64).extract
    tests = {
        "pixels": MemorisationTest(thumbnails(train), patients[~held_out], 0.005, TURNED),
        "features": MemorisationTest(extract(train), patients[~held_out], 0.005, reach=1.5),
    }

    def flagged(made: np.ndarray) -> tuple[float, float]:
        """Return the shares flagged by features alone, and in both spaces."""
        at = {"pixels": thumbnails(made), "features": extract(made)}
        found = confirmed({s: t.evaluate(at[s]) for s, t in tests.items()}, tests, at)
        return float(found["features"].copied.mean()), float(np.mean(np.any([j.memorised for j in found.values()], 0)))

    rng, shape = np.random.default_rng(9), (16, *train.shape[1:])
    noise = np.clip(train.mean((0, 1, 2)) + rng.normal(0, 1, shape) * train.std((0, 1, 2)), 0, 255).astype(np.uint8)
    assert flagged(noise)[1] == 0.0
    blurred = [np.asarray(Image.fromarray(i).filter(ImageFilter.GaussianBlur(4))) for i in novel]
    assert flagged(np.stack(blurred))[1] <= 1 / 16
    for name in ("jpeg", "turned", "another stain"):
        assert flagged(COPIES[name](train[:8]))[1] == 1.0, name
