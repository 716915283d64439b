"""Rectangular images, and the ``resize`` option of a method."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import ArrayData, FakeContext, two_class_data

from bench.config import build, stable_hash
from bench.errors import ConfigError
from tlsgan.augmenter import CycleGAN
from tlsgan.config import CycleGANConfig, TLSGANResNet50Config
from tlsgan.synthesis import UPRIGHT, prepare, recipe

SMALL: dict[str, Any] = {"steps": 2, "batch_size": 1, "filters": 4, "blocks": 1, "disc_filters": 4, "log_every": 1}


SQUARES = [
    (1, 0, (0, 0)),
    (2, 1, (0, 0)),
    (1, 1, (0, 0)),
    (0, 2, (0, 0)),
    (1, 1, (8, 5)),
    (2, 0, (5, 7)),
]  # (source, variant, shift) of some images


class Wide(ArrayData):
    """Images cropped to any size; records the requested sizes."""

    requested: list[Any]

    def images(self, size_px: Any = None) -> np.ndarray:
        self.requested = [*getattr(self, "requested", []), size_px]
        height, width = (size_px, size_px) if isinstance(size_px, int) else size_px or self._images.shape[1:3]
        return self._images[:, :height, :width]


def test_a_cyclegan_trains_on_and_translates_rectangular_images(tmp_path: Path) -> None:
    data = two_class_data(8, 48)
    wide = Wide(data.images(), data.labels)
    method = CycleGAN(CycleGANConfig(**SMALL, image_size_px=(28, 40)))
    ctx = FakeContext(tmp_path)
    method.fit(wide, ctx)
    assert set(wide.requested) == {(28, 40)}
    assert method.translation_size_px(64) == (28, 40)
    made = list(method.synthesize(wide, {0: 10, 1: 18}, tmp_path, ctx))  # also with rotations and shifts
    assert {i.image.shape for i in made} == {(28, 40, 3)}
    assert len({i.image.tobytes() for i in made}) == len(made)
    sources = wide.images((28, 40))[:3]
    assert all(x.shape == sources.shape for x in method.cycle(sources, 0, tmp_path, ctx))


def test_variants_of_rectangular_images_keep_height_and_width() -> None:
    image = np.arange(12 * 20 * 3, dtype=np.uint8).reshape(12, 20, 3)
    recipes = [recipe(i, 1, (12, 20), seed=0) for i in range(30)]
    assert sorted(r.variant for r in recipes[:4]) == list(UPRIGHT)
    assert {prepare(image, r).shape for r in recipes} == {(12, 20, 3)}
    assert len({prepare(image, r).tobytes() for r in recipes[:4]}) == 4


def test_recipes_of_square_images_do_not_change() -> None:
    """Synthetic images of older runs stay valid: the values are from the version with square images only."""
    recipes = [(r.source, r.variant, r.shift) for r in (recipe(i, 3, 64, seed=7) for i in (0, 4, 10, 23, 24, 40))]
    assert recipes == SQUARES
    assert recipes == [
        (r.source, r.variant, r.shift) for r in (recipe(i, 3, (64, 64), 7) for i in (0, 4, 10, 23, 24, 40))
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_size_px": [460, 702]}, "multiple of 4"),
        ({"image_size_px": [20, 64]}, "at least 24"),
        ({"image_size_px": [64]}, "image_size_px"),
        ({"image_size_px": [64, 96], "resize": "crop"}, "crop gives squares only"),
        ({"resize": "stretch"}, "squash, crop"),
    ],
)
def test_an_invalid_size_or_resize_raises_an_error(changes: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(CycleGANConfig, changes, "methods.cyclegan")


def test_sizes_are_read_from_yaml_and_defaults_do_not_change_cell_keys() -> None:
    config = build(TLSGANResNet50Config, {"image_size_px": [460, 700], "resize": "squash"}, "m")
    assert config.image_size_px == (460, 700)
    late = {"resize", "keep_discriminator", "trained_stages", "head", "class_on_both", "label_fraction"}
    late |= {"upsample", "residual", "unlabelled"}
    for known in (CycleGANConfig(), CycleGANConfig(image_size_px=64)):
        assert stable_hash(known) == stable_hash({k: v for k, v in asdict(known).items() if k not in late})
    assert stable_hash(CycleGANConfig(resize="crop")) != stable_hash(CycleGANConfig())
    assert stable_hash(CycleGANConfig(keep_discriminator=True)) != stable_hash(CycleGANConfig())
