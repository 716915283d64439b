"""KID and FID of a generator's images during training: against training images, without side effects."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import ArrayData

from bench.errors import BenchError, ConfigError
from bench.metrics.fidelity import fidelity_metrics
from bench.stages import training_fidelity
from bench.stages.context import CellContext


class Colours:
    """A feature extractor: the mean colour of each quarter of an image; like a network it draws random weights."""

    tag = "colours-00000000"

    def __init__(self, env: object) -> None:
        torch.rand(3)
        np.random.rand(3)
        random.random()

    def __call__(self, images: np.ndarray) -> np.ndarray:
        return self.extract(images)

    def extract(self, images: np.ndarray) -> np.ndarray:
        n, h, w, _ = images.shape
        return images.reshape(n, 2, h // 2, 2, w // 2, 3).mean(axis=(2, 4)).reshape(n, 12).astype(np.float32) / 255


class Env:
    device = "cpu"


def made(seed: int, n: int, shift: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).integers(0, 200, (n, 8, 8, 3)) + shift).astype(np.uint8)


@pytest.fixture
def ctx(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CellContext:
    monkeypatch.setattr(training_fidelity, "Features", Colours)
    ctx = CellContext(tmp_path, "cpu", 0, None)
    data = ArrayData(made(0, 60), np.arange(60) % 3, classes=("a", "b", "c"))
    ctx.score_images = training_fidelity.TrainingFidelity(Env(), data)  # type: ignore[arg-type]
    return ctx


def test_the_scores_are_those_of_the_fidelity_stage_against_training_images_of_the_same_classes(
    ctx: CellContext,
) -> None:
    images, labels = made(1, 30, shift=20), np.arange(30) % 2  # of two classes: the third is excluded
    found = ctx.fidelity(images, labels)
    extract = Colours(None).extract
    wanted = fidelity_metrics(extract(made(0, 60)[np.arange(60) % 3 < 2]), extract(images))
    assert set(found) == {"kid_colours-00000000", "fid_colours-00000000"}
    assert found["kid_colours-00000000"] == wanted["kid"]
    assert found["fid_colours-00000000"] == pytest.approx(wanted["fid"], rel=1e-5)
    assert ctx.fidelity(images, labels) == found
    assert ctx.fidelity(made(1, 30, shift=50), labels)["fid_colours-00000000"] > found["fid_colours-00000000"]
    assert ctx.costs()["evaluate_s"] > 0


def test_global_random_states_are_unchanged(ctx: CellContext) -> None:
    def drawn(scored: bool) -> tuple[float, float, float]:
        torch.manual_seed(3)
        np.random.seed(3)
        random.seed(3)
        if scored:
            ctx.fidelity(made(1, 12), np.zeros(12, dtype=np.int64))
        return torch.rand(1).item(), float(np.random.rand()), random.random()

    assert drawn(scored=True) == drawn(scored=False)


@pytest.mark.parametrize("images", [np.zeros((2, 8, 8, 3)), np.zeros((2, 8, 8), np.uint8), [[0]]])
def test_images_of_another_type_are_refused(ctx: CellContext, images: Any) -> None:
    for call in (lambda: ctx.save_images("x", 0, images), lambda: ctx.fidelity(images, np.zeros(2, dtype=np.int64))):
        with pytest.raises(BenchError, match=r"got images .*, expected an array uint8 \[N, H, W, 3\]"):
            call()
    assert not list((ctx.folder / "samples").glob("*"))


def test_fidelity_is_not_available_outside_fit(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="only available in `fit`"):
        CellContext(tmp_path, "cpu", 0, None).fidelity(made(0, 2), np.zeros(2, dtype=np.int64))
