"""Images of a method are checked before they are written; files have the permissions of the umask."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from baselines.medsyngan import MedSynGAN
from bench.errors import BenchError
from bench.files import write_atomic
from bench.stages.synthetic import require_synthetic, synthetic_size
from bench.types import SyntheticImage
from tlsgan.augmenter import CycleGAN
from tlsgan.config import CycleGANConfig

GOOD = np.zeros((32, 32, 3), np.uint8)


def check(image: object = GOOD, label: int = 1, source: str | None = None) -> None:
    require_synthetic("toy", SyntheticImage(image, label, 0, source), (32, 32), {0: 4, 1: 4}, {"a/1.png": "P1"})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("image", "got"),
    [
        (np.zeros((16, 32, 3), np.uint8), r"uint8 \[16, 32, 3\]"),
        (np.zeros((32, 32), np.uint8), r"uint8 \[32, 32\]"),
        (np.zeros((32, 32, 4), np.uint8), r"uint8 \[32, 32, 4\]"),
        (np.zeros((3, 32, 32), np.uint8), r"uint8 \[3, 32, 32\]"),
        (np.full((32, 32, 3), 0.5, np.float32), r"float32 \[32, 32, 3\], values 0\.5 to 0\.5"),
        (np.full((32, 32, 3), 300, np.int64), r"int64 \[32, 32, 3\], values 300 to 300"),
        (np.zeros((32, 32, 3), bool), r"bool \[32, 32, 3\]"),
        (Image.new("L", (32, 32)), "Image of mode L"),
        (None, "NoneType"),
    ],
)
def test_another_size_mode_type_or_range_is_an_error(image: object, got: str) -> None:
    with pytest.raises(BenchError, match=rf"method toy .*{got}.*; expected an array uint8 \[32, 32, 3\]"):
        check(image)


def test_foreign_labels_and_sources_are_errors_and_the_rest_is_not() -> None:
    check()
    check(source="a/1.png")
    with pytest.raises(BenchError, match=r"method toy .*label 2; expected one of \[0, 1\]"):
        check(label=2)
    with pytest.raises(BenchError, match=r"method toy .*'b/2\.png'; expected the path of one of its training images"):
        check(source="b/2.png")


def test_the_size_expected_is_the_methods_own_or_the_suites() -> None:
    assert synthetic_size(object(), 48) == (48, 48)
    assert synthetic_size(MedSynGAN(MedSynGAN.Config()), 48) == (MedSynGAN.side_px,) * 2
    assert synthetic_size(CycleGAN(CycleGANConfig(image_size_px=(64, 96))), 48) == (64, 96)
    assert synthetic_size(CycleGAN(CycleGANConfig()), 48) == (48, 48)


@pytest.fixture
def umask() -> object:
    before = os.umask(0o022)
    yield os.umask
    os.umask(before)


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600), (0o027, 0o640)])
def test_files_respect_the_umask(tmp_path: Path, umask: Callable[[int], int], mask: int, mode: int) -> None:
    umask(mask)
    write_atomic(tmp_path / "results.json", "{}")
    assert (tmp_path / "results.json").stat().st_mode & 0o777 == mode
    assert [p.name for p in tmp_path.iterdir()] == ["results.json"]
