"""The conditional GAN: learns class colours, resumes exactly, and makes each image from its own seed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import ArrayData, FakeContext, Interrupt, two_class_data
from safetensors.torch import load_file

from baselines.cgan import WEIGHTS_FILE, ConditionalGAN
from baselines.cgan_networks import Discriminator, Generator, stages
from baselines.pixels import to_float, to_uint8
from bench.errors import ConfigError, DataError, DivergedError

TINY: dict[str, Any] = {"steps": 12, "batch_size": 4, "filters": 4, "z_dim": 8, "checkpoint_every": 5}


def fitted(folder: Path, data: ArrayData | None = None, **options: Any) -> tuple[ConditionalGAN, FakeContext]:
    gan, ctx = ConditionalGAN(ConditionalGAN.Config(**{**TINY, **options})), FakeContext(folder)
    gan.fit(data or two_class_data(), ctx)
    return gan, ctx


def test_learns_the_mean_colour_of_each_class(tmp_path: Path) -> None:
    data = two_class_data(32, 16)
    options = {"steps": 250, "batch_size": 16, "filters": 8, "z_dim": 16}
    gan, ctx = fitted(tmp_path, data, **options)
    made = list(gan.synthesize(data, {0: 16, 1: 16}, tmp_path, ctx))
    for label in (0, 1):
        synthetic = np.mean([s.image for s in made if s.label == label], axis=(0, 1, 2))
        real = data.images()[data.labels == label].mean(axis=(0, 1, 2))
        assert np.abs(synthetic - real).max() < 20, (label, synthetic, real)


def test_interrupted_and_resumed_equals_uninterrupted(tmp_path: Path) -> None:
    fitted(tmp_path / "whole")
    ctx = FakeContext(tmp_path / "parts", interrupt_at=10)
    gan = ConditionalGAN(ConditionalGAN.Config(**TINY))
    with pytest.raises(Interrupt):
        gan.fit(two_class_data(), ctx)
    assert ctx.checkpoint is not None
    assert ctx.checkpoint["step"] == 5
    ctx.interrupt_at = None
    torch.manual_seed(99)
    gan.fit(two_class_data(), ctx)
    whole, parts = (load_file(tmp_path / f / WEIGHTS_FILE) for f in ("whole", "parts"))
    for name, tensor in whole.items():
        assert torch.equal(tensor, parts[name]), name


def test_an_image_does_not_depend_on_how_many_are_asked_for(tmp_path: Path) -> None:
    gan, ctx = fitted(tmp_path)
    few = list(gan.synthesize(two_class_data(), {1: 3}, tmp_path, ctx))
    many = list(gan.synthesize(two_class_data(), {0: 5, 1: 40}, tmp_path, ctx))
    assert [s.label for s in many] == [0] * 5 + [1] * 40
    ones = [s for s in many if s.label == 1]
    for a, b in zip(few, ones[:3], strict=True):
        assert a.seed == b.seed
        assert (a.image == b.image).all()
    assert len({s.seed for s in many}) == 45
    assert {s.source_path for s in many} == {None}
    assert ones[0].image.shape == (32, 32, 3)
    assert ones[0].image.dtype == np.uint8
    assert any((ones[0].image != s.image).any() for s in ones[1:])


def test_logs_losses_and_a_grid_of_each_class(tmp_path: Path) -> None:
    _, ctx = fitted(tmp_path, sample_every=6)
    assert [s for s, _ in ctx.history] == [5, 10, 12]
    assert set(ctx.history[0][1]) == {"loss/D", "loss/G", "score/real", "score/fake"}
    assert [(n, s) for n, s, _ in ctx.images] == [(f"class_{c}", s) for s in (6, 12) for c in (0, 1)]


@pytest.mark.parametrize("size", [16, 24, 40, 48, 64, 72, 96])
def test_networks_fit_every_multiple_of_eight(size: int) -> None:
    side, doublings = stages(size)
    assert side * 2**doublings == size
    images = Generator(3, size, 8, 4)(torch.randn(2, 8), torch.tensor([0, 2]))
    assert images.shape == (2, 3, size, size)
    assert images.abs().max() <= 1
    assert Discriminator(3, size, 4)(images, torch.tensor([0, 2])).shape == (2,)


def test_both_networks_hear_the_label() -> None:
    G, D = Generator(2, 16, 8, 4).eval(), Discriminator(2, 16, 4).eval()
    z = torch.randn(1, 8)
    a, b = (G(z, torch.tensor([c])) for c in (0, 1))
    assert not torch.equal(a, b)
    assert D(a, torch.tensor([0])) != D(a, torch.tensor([1]))


def test_pixels_survive_the_way_there_and_back() -> None:
    images = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, axis=3)
    x = to_float(torch.tensor(images))
    assert (x.min(), x.max()) == (-1, 1)
    assert (to_uint8(x) == images).all()


def test_images_of_an_odd_size_or_a_class_without_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="got images of 20 px, expected a multiple of 8"):
        fitted(tmp_path, two_class_data(4, 20))
    with pytest.raises(DataError, match="no training image of class 'malignant'"):
        fitted(tmp_path, ArrayData(np.zeros((2, 16, 16, 3), np.uint8), np.zeros(2)))


def test_diverging_is_a_typed_error(tmp_path: Path) -> None:
    with pytest.raises(DivergedError, match="lower learning_rate"):
        fitted(tmp_path, discriminator_learning_rate=1e30, learning_rate=1e30)


@pytest.mark.parametrize("options", [{"steps": 0}, {"batch_size": 1}, {"learning_rate": 0.0}, {"ema": 1.0}])
def test_values_out_of_range_are_config_errors(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"{next(iter(options))}: got"):
        ConditionalGAN.Config(**options)


def test_serves_any_number_of_classes() -> None:
    gan = ConditionalGAN(ConditionalGAN.Config())
    gan.check([str(i) for i in range(9)])
    with pytest.raises(ConfigError, match="no classes"):
        gan.check([])
