"""The segmentation network of the FCN score: it learns, resumes exactly, and is evaluated image by image."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import FakeContext, Interrupt
from skimage.color import hed2rgb

from bench.classifiers.weight_files import load_network, save_network
from bench.errors import ConfigError, DataError, DivergedError
from bench.metrics.fcn_score import confusion, fcn_score
from bench.segmentation.config import SegmentationConfig
from bench.segmentation.network import UNet
from bench.segmentation.pseudo_masks import nuclear_masks
from bench.segmentation.trainer import MaskedImages, bce_dice, evaluate, segment, train_segmentation, turned
from bench.stages.context import CellContext

SMALL = SegmentationConfig(steps=12, batch_size=3, filters=3, learning_rate=1e-2, evaluate_every=4, checkpoint_every=5)


def discs(n: int, seed: int, size: int = 24) -> MaskedImages:
    """Noisy pictures of a dark disc on a light background; the mask is the disc."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size]
    masks = np.stack(
        [(y - cy) ** 2 + (x - cx) ** 2 < r**2 for cy, cx, r in rng.uniform(5, size - 5, (n, 3)) * [1, 1, 0.5]]
    )
    pixels = np.where(masks[..., None], [90, 60, 140], [220, 180, 210]) + rng.normal(0, 12, (n, size, size, 3))
    return MaskedImages(np.clip(pixels, 0, 255).astype(np.uint8), masks.astype(np.uint8))


TRAIN, VALIDATION = discs(10, 0), discs(5, 1)


def fresh(filters: int = SMALL.filters) -> UNet:
    torch.manual_seed(0)
    return UNet(filters)


def trained(ctx: FakeContext, config: SegmentationConfig = SMALL) -> tuple[UNet, Any]:
    network = fresh(config.filters)
    return network, train_segmentation(network, TRAIN, VALIDATION, config, ctx)


@pytest.mark.parametrize("size", [(16, 16), (17, 30), (48, 48)])
def test_the_map_is_as_large_as_the_image(size: tuple[int, int]) -> None:
    assert fresh()(torch.rand(2, 3, *size)).shape == (2, *size)


def test_it_learns_and_keeps_the_weights_best_on_validation(tmp_path: Path) -> None:
    config = SegmentationConfig(
        steps=30, batch_size=4, filters=4, learning_rate=2e-2, evaluate_every=6, checkpoint_every=50
    )
    ctx = FakeContext(tmp_path)
    network, result = trained(ctx, config)
    looks = {step: m["validation/iou"] for step, m in ctx.history if "validation/iou" in m}
    assert sorted(looks) == [6, 12, 18, 24, 30]
    assert result.validation_score == max(looks.values()) == looks[result.best_step]
    assert evaluate(network, VALIDATION, "cpu")["iou"] == result.validation_score
    assert evaluate(network, discs(6, 2), "cpu")["iou"] > 0.85
    assert result.parameters == sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize("interrupt_at", [7, 10, 12])
def test_killed_and_resumed_it_ends_with_the_same_weights(interrupt_at: int, tmp_path: Path) -> None:
    whole, result = trained(FakeContext(tmp_path / "whole", seed=3))
    ctx = FakeContext(tmp_path / "broken", seed=3, interrupt_at=interrupt_at)
    with pytest.raises(Interrupt):
        trained(ctx)
    assert ctx.checkpoint is not None
    ctx.interrupt_at = None
    again, same = trained(ctx)
    assert same == result
    assert all(torch.equal(a, b) for a, b in zip(whole.state_dict().values(), again.state_dict().values(), strict=True))


def test_the_harness_can_store_and_load_checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same, through files, as after a killed run."""
    whole, result = trained(FakeContext(tmp_path / "whole"))
    ctx, log = CellContext(tmp_path, "cpu", 0, None), CellContext.log

    def killed(self: CellContext, step: int, total: int, metrics: Any) -> None:
        if step > 10:
            raise Interrupt
        log(self, step, total, metrics)

    with monkeypatch.context() as patch:
        patch.setattr(CellContext, "log", killed)
        with pytest.raises(Interrupt):
            trained(ctx)  # type: ignore[arg-type]
    again, same = trained(CellContext(tmp_path, "cpu", 0, None))  # type: ignore[arg-type]
    assert same == result
    assert all(torch.equal(a, b) for a, b in zip(whole.state_dict().values(), again.state_dict().values(), strict=True))


def test_a_mask_does_not_depend_on_the_images_beside_it() -> None:
    network, images = fresh(), discs(11, 4).images
    whole = segment(network, images, "cpu")
    assert whole.shape == images.shape[:3]
    assert set(np.unique(whole)) <= {0, 1}
    assert (segment(network, images[[9, 2]], "cpu") == whole[[9, 2]]).all()
    assert segment(network, images[:0], "cpu").shape == (0, 24, 24)


def test_evaluation_is_the_fcn_score_of_the_masks() -> None:
    network, data = fresh(), discs(5, 5)
    matrix = confusion(data.masks, segment(network, data.images, "cpu")).sum(axis=0)
    assert evaluate(network, data, "cpu") == fcn_score(matrix)


def test_saved_and_loaded_it_is_the_same(tmp_path: Path) -> None:
    network = fresh()
    save_network(network, tmp_path / "n.safetensors")
    images = discs(3, 6).images
    again = UNet(SMALL.filters)
    load_network(again, tmp_path / "n.safetensors")
    assert (segment(again, images, "cpu") == segment(network, images, "cpu")).all()


def test_images_and_masks_turn_together_in_all_eight_ways() -> None:
    masks = torch.from_numpy(np.random.default_rng(0).integers(0, 2, (2, 6, 6), dtype=np.uint8))
    images = (masks * 255)[..., None].expand(-1, -1, -1, 3)
    seen = set()
    for seed in range(40):
        x, y = turned(images, masks, seed)
        assert torch.equal(x[:, 1], y)
        seen.add(y.numpy().tobytes())
    assert len(seen) == 8
    oblong = {turned(images[:, :4], masks[:, :4], seed)[1].shape for seed in range(20)}
    assert oblong == {(2, 4, 6)}


def test_the_loss_in_closed_form() -> None:
    target = torch.tensor([[[1.0, 0.0], [0.0, 0.0]]])
    undecided = bce_dice(torch.zeros(1, 2, 2), target)  # p = 1/2: ln 2, and dice (2·½ + 1) / (2 + 1 + 1)
    assert float(undecided) == pytest.approx(math.log(2) + 1 - 2 / 4)
    assert float(bce_dice(100 * (2 * target - 1), target)) == pytest.approx(0, abs=1e-6)


def test_invalid_training_input_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="N >= 1"):
        train_segmentation(
            fresh(), MaskedImages(TRAIN.images[:0], TRAIN.masks[:0]), VALIDATION, SMALL, FakeContext(tmp_path)
        )
    with pytest.raises(ConfigError, match="steps is 0"):
        SegmentationConfig(steps=0)
    with pytest.raises(ConfigError, match="learning_rate"):
        SegmentationConfig(learning_rate=0)
    broken = fresh()
    broken.head.weight.data.fill_(float("nan"))
    with pytest.raises(DivergedError, match="lower segmentation"):
        train_segmentation(broken, TRAIN, VALIDATION, SMALL, FakeContext(tmp_path))


def test_haematoxylin_is_found_at_its_position() -> None:
    """Discs of haematoxylin in a field of eosin, mixed by scikit-image's inverse; and two specks, which are removed."""
    wanted = discs(3, 7, size=64).masks
    specks = wanted.copy()
    specks[:, 0, 0] = 1
    dyes = np.stack([0.02 + 0.1 * specks, 0.06 * np.ones_like(specks), np.zeros_like(specks)], axis=-1)
    images = np.round(255 * np.clip(hed2rgb(dyes), 0, 1)).astype(np.uint8)
    found = nuclear_masks(images)
    assert found.dtype == np.uint8
    assert found[:, 0, 0].sum() == 0
    assert fcn_score(confusion(wanted, found).sum(axis=0))["iou"] > 0.95
    assert nuclear_masks(np.full((1, 32, 32, 3), 200, np.uint8)).sum() == 0
    assert nuclear_masks(images[:0]).shape == (0, 64, 64)
