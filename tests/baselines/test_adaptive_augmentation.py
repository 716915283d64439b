"""Adaptive augmentation: p follows the discriminator's scores; each transformation is the one that its name says."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from baselines import adaptive_augmentation
from baselines.adaptive_augmentation import EVERY, MAX_P, AdaptiveDiscriminator, transformed
from baselines.cgan import ConditionalGAN
from bench.errors import ConfigError


class Means(nn.Module):
    """Scores each image by its mean."""

    def forward(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return images.mean(dim=(1, 2, 3)) + labels


def adapted(signs: list[float], images: int = 160, batch: int = 8) -> list[float]:
    """Return p after each batch whose scores have these mean signs."""
    D, found = AdaptiveDiscriminator(Means(), images), []
    for mean in signs:
        positive = round(batch * (1 + mean) / 2)
        D.adapt(torch.tensor([0.1] * positive + [-0.1] * (batch - positive)))
        found.append(float(D.p))
    return found


def test_p_rises_while_the_discriminator_overfits_and_falls_otherwise() -> None:
    step = EVERY * 8 / 160
    assert adapted([1.0] * 8) == pytest.approx([0, 0, 0, step, step, step, step, 2 * step])
    assert adapted([0.75] * 4)[-1] == pytest.approx(step), "above the target of 0.6"
    assert adapted([0.5] * 4)[-1] == 0, "below the target, and never below 0"
    assert adapted([1.0] * 8 + [0.0] * 4)[-1] == pytest.approx(step)
    assert adapted([1.0] * 40)[-1] == pytest.approx(MAX_P)
    assert adapted([1.0, 1.0, 0.0, 0.25])[-1] == 0, "the mean of the batches counts: 0.5625"


def test_without_augmentation_images_are_unchanged() -> None:
    images = torch.rand(4, 3, 16, 16) * 2 - 1
    assert torch.equal(transformed(images, torch.zeros(())), images)
    labels = torch.tensor([0, 1, 0, 1])
    assert torch.equal(AdaptiveDiscriminator(Means(), 100)(images, labels), Means()(images, labels))


def test_the_share_of_transformed_images_follows_p() -> None:
    torch.manual_seed(0)
    images = torch.rand(1, 1, 16, 16).expand(2000, 1, 16, 16) * 2 - 1
    for p in (0.02, 0.1):
        moved = (transformed(images, torch.tensor(p)) - images).abs().amax(dim=(1, 2, 3)) > 1e-4
        # an image is unchanged if none of its transformations applies, or applies with its neutral value
        turn = 1 - math.sqrt(1 - p)
        unchanged = (1 - p / 2) ** 2 * (1 - 3 * p / 4) * (1 - p) ** 8 * (1 - turn) ** 2
        assert float(moved.float().mean()) == pytest.approx(1 - unchanged, abs=4 * math.sqrt(0.25 / 2000))


class Fixed:
    """Stands for ``_Draws``: only the named draw (by its place) is chosen, with a value."""

    def __init__(self, place: int, value: float) -> None:
        self.place, self.value, self.at = place, value, -1

    def __call__(self, count: int, p: torch.Tensor, like: torch.Tensor) -> Fixed:
        self.count = count
        return self

    def uniform(self) -> torch.Tensor:
        return torch.full((self.count,), 1.0)

    normal = uniform

    def whole(self, below: int) -> torch.Tensor:
        return torch.full((self.count,), float(self.value))

    def chosen(self, values: torch.Tensor, otherwise: float, p: torch.Tensor | None = None) -> torch.Tensor:
        self.at += 1
        return values if self.at == self.place else torch.full_like(values, otherwise)


def moved(monkeypatch: pytest.MonkeyPatch, place: int, value: float, images: torch.Tensor) -> torch.Tensor:
    """Return images after one transformation of the geometry."""
    monkeypatch.setattr(adaptive_augmentation, "_coloured", lambda images, p: images)
    monkeypatch.setattr(adaptive_augmentation, "_Draws", Fixed(place, value))
    return transformed(images, torch.tensor(0.5))


def test_flips_turns_and_shifts_are_those_of_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    images = torch.rand(2, 3, 16, 16)
    assert torch.allclose(moved(monkeypatch, 0, 1, images), images.flip(3), atol=1e-5)
    for quarters in (1, 2, 3):
        turned = moved(monkeypatch, 1, quarters, images)
        assert any(torch.allclose(turned, images.rot90(k, (2, 3)), atol=1e-4) for k in (quarters, 4 - quarters))
    shifted = moved(monkeypatch, 2, 0, images)  # columns, by an eighth of the side
    assert torch.allclose(shifted[..., :-2], images[..., 2:], atol=1e-5)


def test_hue_keeps_grey_and_saturation_and_a_whole_turn_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    images = torch.rand(2, 3, 8, 8) - 0.5
    hue = 3  # after brightness, contrast and luma
    for angle, expected in ((2.0, images), (2 / 3, None)):
        draws = Fixed(hue, 0.0)
        monkeypatch.setattr(draws, "uniform", lambda angle=angle: torch.full((2,), angle))
        monkeypatch.setattr(adaptive_augmentation, "_Draws", draws)
        changed = adaptive_augmentation._coloured(images, torch.tensor(0.5))
        assert torch.allclose(changed.mean(dim=1), images.mean(dim=1), atol=1e-5)
        sizes = [(x - x.mean(dim=1, keepdim=True)).norm(dim=1) for x in (images, changed)]
        assert torch.allclose(*sizes, atol=1e-5)
        third = images.roll(1, dims=1)  # a third of a turn exchanges the channels
        assert torch.allclose(changed, third if expected is None else expected, atol=1e-5)


def test_gradients_reach_the_images() -> None:
    torch.manual_seed(0)
    images = torch.rand(4, 3, 16, 16, requires_grad=True)
    transformed(images, torch.tensor(0.8)).sum().backward()
    assert images.grad is not None
    assert (images.grad.abs().sum(dim=(1, 2, 3)) > 0).all()


def test_two_kinds_of_augmentation_are_an_error() -> None:
    with pytest.raises(ConfigError, match="got true with diffaug; use one of them"):
        ConditionalGAN.Config(adaptive_augmentation=True, diffaug="color")
    with pytest.raises(ConfigError, match="got true with progressive"):
        ConditionalGAN.Config(adaptive_augmentation=True, progressive=True)
