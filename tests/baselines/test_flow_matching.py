"""Flow matching and diffusion: losses and samplers by hand, what is learned, grey data, and refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import ArrayData, FakeContext, Interrupt, two_class_data
from safetensors.torch import load_file
from torch import nn

from baselines import flow_loop
from baselines.diffusion import Diffusion
from baselines.flow_config import FlowMatchingConfig
from baselines.flow_loop import learning_rate, make_state, train_step, training_images
from baselines.flow_matching import WEIGHTS_FILE, FlowMatching
from baselines.flow_networks import HIGHEST, VelocityUNet
from baselines.flow_processes import EDM, RectifiedFlow, denoised, noise_levels
from baselines.pixels import to_float, to_uint8
from bench.errors import ConfigError, DataError, DivergedError
from bench.seeding import derive_seed

TINY: dict[str, Any] = {"steps": 4, "batch_size": 4, "filters": 8, "sample_steps": 2, "sample_every": 4}
FLOW = RectifiedFlow()


def fitted(
    folder: Path, data: ArrayData | None = None, kind: type[FlowMatching] = FlowMatching, **options: Any
) -> tuple[FlowMatching, FakeContext]:
    method, ctx = kind(kind.Config(**{**TINY, **options})), FakeContext(folder)
    method.fit(data or two_class_data(16, 16), ctx)
    return method, ctx


@pytest.mark.parametrize("kind", [FlowMatching, Diffusion])
def test_learns_the_mean_colour_of_each_class(
    kind: type[FlowMatching], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flow_loop, "WARM_UP", 5)  # the published 50 steps are most of this short training
    data = two_class_data(16, 16)
    options = {"steps": 40, "batch_size": 8, "filters": 16, "learning_rate": 1e-2, "sample_steps": 8, "ema": 0.5}
    method, ctx = fitted(tmp_path, data, kind, **options)
    made = list(method.synthesize(data, {0: 8, 1: 8}, tmp_path, ctx))
    for label in (0, 1):
        synthetic = np.mean([s.image for s in made if s.label == label], axis=(0, 1, 2))
        real = data.images()[data.labels == label].mean(axis=(0, 1, 2))
        assert np.abs(synthetic - real).max() < 20, (label, synthetic, real)


@pytest.mark.parametrize("kind", [FlowMatching, Diffusion])
def test_interrupted_and_resumed_equals_uninterrupted(kind: type[FlowMatching], tmp_path: Path) -> None:
    data, options = two_class_data(16, 16), {"steps": 6, "checkpoint_every": 2, "log_every": 1}
    method, whole = fitted(tmp_path / "whole", data, kind, **options)
    parts = FakeContext(tmp_path / "parts", interrupt_at=5)
    with pytest.raises(Interrupt):
        kind(method.config).fit(data, parts)
    assert parts.checkpoint is not None
    assert parts.checkpoint["step"] == 4
    parts.interrupt_at = None
    torch.manual_seed(99)
    kind(method.config).fit(data, parts)
    expected, found = (load_file(ctx.folder / WEIGHTS_FILE) for ctx in (whole, parts))
    assert all(torch.equal(value, found[name]) for name, value in expected.items())
    images = [[s.image for s in method.synthesize(data, {0: 1, 1: 2}, ctx.folder, ctx)] for ctx in (whole, parts)]
    assert np.array_equal(*images)


def test_the_loss_is_that_of_straight_paths() -> None:
    config = FlowMatchingConfig(**TINY)
    state, images = make_state(config, 2, 16, 3, "cpu", 0), training_images(FLOW, two_class_data(16, 16), 3, "cpu")
    draw = torch.Generator().manual_seed(derive_seed("flow step", 0, 0))
    labels = torch.randint(2, (4,), generator=draw)
    places = torch.rand(4, generator=draw, dtype=torch.float64)
    chosen = [images.by_class[int(c)][int(u * 8)] for c, u in zip(labels, places, strict=True)]
    x1 = to_float(images.pixels[torch.stack(chosen)])
    x0 = torch.randn(x1.shape, generator=draw)
    loss = train_step(FLOW, config, state, images, seed=0, step=0)
    assert loss.item() == pytest.approx((x1 - x0).square().mean().item(), rel=1e-5)  # a new network's velocity is 0


def test_heuns_method_is_exact_for_a_velocity_linear_in_time_up_to_its_last_step() -> None:
    class Line(nn.Module):
        def forward(self, x: torch.Tensor, t: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
            return (2 * t * labels)[:, None, None, None].expand_as(x)  # x(t) = x(0) + t² label

    images = to_uint8(FLOW.sample(Line(), torch.full((2, 1, 4, 4), -1.0), torch.tensor([0, 1]), steps=4))
    assert (images[0] == 0).all()
    end = 0.75**2 + 2 * 0.75 * 0.25  # Heun to t = 3/4, then Euler
    assert (images[1] == round(end * 127.5)).all()


class Zero(nn.Module):
    def forward(self, x: torch.Tensor, t: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(x)


def test_the_noise_levels_are_those_of_edm() -> None:
    levels = noise_levels(18)
    assert len(levels) == 19
    assert (levels[0], levels[17], levels[18]) == (pytest.approx(80), pytest.approx(0.002), 0)
    assert levels[9] == pytest.approx((80 ** (1 / 7) + 9 / 17 * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7)


def test_the_denoiser_is_preconditioned() -> None:
    seen: list[torch.Tensor] = []

    class One(nn.Module):
        def forward(self, x: torch.Tensor, t: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
            seen.extend((x, t))
            return torch.ones_like(x)

    x, sigma = torch.full((2, 1, 2, 2), 3.0), torch.tensor([0.5, 2.0])
    found = denoised(One(), x, sigma, torch.tensor([0, 1]))
    for i, s in enumerate((0.5, 2.0)):
        c_skip, c_out, c_in = 0.25 / (s**2 + 0.25), s * 0.5 / (s**2 + 0.25) ** 0.5, 1 / (s**2 + 0.25) ** 0.5
        assert found[i, 0, 0, 0].item() == pytest.approx(c_skip * 3 + c_out)
        assert seen[0][i, 0, 0, 0].item() == pytest.approx(c_in * 3)
        assert seen[1][i].item() == pytest.approx(np.log(s) / 4 / HIGHEST)


def test_the_loss_of_edm_is_that_of_the_networks_own_target() -> None:
    draw = torch.Generator().manual_seed(5)
    images = torch.rand(4, 1, 8, 8) * 2 - 1
    loss = EDM().loss(Zero(), images, torch.zeros(4, dtype=torch.long), draw)
    draw = torch.Generator().manual_seed(5)
    noise, sigma = torch.randn(images.shape, generator=draw), (1.2 * torch.randn(4, generator=draw) - 1.2).exp()
    s = sigma[:, None, None, None]
    target = (images - 0.25 / (s**2 + 0.25) * (images + s * noise)) / (s * 0.5 / (s**2 + 0.25).sqrt())
    assert loss.item() == pytest.approx(target.square().mean().item(), rel=1e-4)  # table 1: λ(σ) = 1 / c_out²


def test_the_sampler_of_edm_is_right_for_normal_images() -> None:
    """The denoiser of images from N(0, 0.5²) needs no network; the error of Heun's method falls with the square."""
    noise = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    exact = noise * 80 * 0.5 / (80**2 + 0.5**2) ** 0.5
    errors = [float((EDM().sample(Zero(), noise, torch.tensor([0, 1]), n) / exact - 1).mean()) for n in (18, 36, 72)]
    assert errors == pytest.approx([0.0553, 0.0122, 0.0029], abs=2e-4)  # the same steps written out in NumPy


def test_the_network_is_a_function_of_time_and_label() -> None:
    torch.manual_seed(0)
    network = VelocityUNet(2, 16, 8, 1)
    x, zero = torch.randn(1, 1, 16, 16), torch.zeros(1)
    assert (network(x, zero, torch.tensor([0])) == 0).all()
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight, 0, 0.1)
    first = network(x, zero, torch.tensor([0]))
    assert not torch.allclose(first, network(x, zero + 0.5, torch.tensor([0])))
    assert not torch.allclose(first, network(x, zero, torch.tensor([1])))
    both = network(torch.cat([x, torch.randn_like(x)]), torch.zeros(2), torch.tensor([0, 1]))
    torch.testing.assert_close(first, both[:1])


def test_the_learning_rate_rises_and_falls_to_zero() -> None:
    config = FlowMatchingConfig(steps=1000, learning_rate=1.0)
    rates = [learning_rate(config, step) for step in range(1000)]
    assert rates[0] == pytest.approx(0.02, rel=1e-3)
    assert 40 <= int(np.argmax(rates)) <= 60
    assert 0 < rates[-1] < 1e-5


def test_grey_data_are_trained_with_one_channel(tmp_path: Path) -> None:
    colour = two_class_data(8, 16)
    grey = ArrayData(colour.images()[..., :1].repeat(3, axis=3), colour.labels)
    method, ctx = fitted(tmp_path, grey)
    made = list(method.synthesize(grey, {0: 2, 1: 1}, tmp_path, ctx))
    assert all(s.image.shape == (16, 16, 3) and np.ptp(s.image, axis=2).max() == 0 for s in made)


def test_unusable_data_and_options_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="got images of 18 px"):
        fitted(tmp_path, two_class_data(4, 18))
    with pytest.raises(DataError, match="no training image of class 'malignant'"):
        fitted(tmp_path, ArrayData(np.zeros((2, 16, 16, 3), np.uint8), np.zeros(2)))
    with pytest.raises(DivergedError, match="lower learning_rate"):
        fitted(tmp_path, learning_rate=1e30)
    for options in ({"steps": 0}, {"learning_rate": 0.0}, {"ema": 1.0}, {"sample_steps": 0}):
        with pytest.raises(ConfigError, match=f"{next(iter(options))}: got"):
            FlowMatchingConfig(**options)
