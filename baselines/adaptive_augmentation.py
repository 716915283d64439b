"""Adaptive discriminator augmentation (ADA) for ``cgan``.

Karras et al. 2020, "Training Generative Adversarial Networks with Limited Data". The discriminator sees real and
generated images through random transformations, each applied with probability p. p rises while the discriminator's
scores show overfitting, r_t = E[sign(D(real))] above a target (eq. 1 and section 3), and falls otherwise.

Changed against the paper: its pixel blits, geometric and colour transformations are one affine and one colour map,
resampled bilinearly without its wavelet filters, with shifts that are not rounded to pixels; no custom CUDA code; p is
at most 0.8, above which transformations can appear in generated images (section 2.2).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn

TARGET = 0.6  # of r_t
EVERY = 4  # batches per change of p
MAX_P = 0.8
LN2 = math.log(2)


class AdaptiveDiscriminator(nn.Module):
    """A discriminator behind the transformations; ``p`` and its statistics are buffers, so checkpoints hold them.

    ``images`` is the number of real images in which p can rise from 0 to 1.
    """

    p: torch.Tensor
    signs: torch.Tensor
    batches: torch.Tensor

    def __init__(self, network: nn.Module, images: int) -> None:
        super().__init__()
        self.network, self.images = network, images
        for name in ("p", "signs", "batches"):
            self.register_buffer(name, torch.zeros(()))

    def forward(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the scores of transformed images, float [B, C, H, W] in [-1, 1], with labels int64 [B]."""
        scores: torch.Tensor = self.network(transformed(images, self.p), labels)
        return scores

    @torch.no_grad()
    def adapt(self, real_scores: torch.Tensor) -> None:
        """Take the scores float [B] of a batch of real images into account; p changes every ``EVERY`` batches."""
        self.signs += real_scores.sign().mean()
        self.batches += 1
        due = self.batches >= EVERY
        change = torch.sign(self.signs / EVERY - TARGET) * EVERY * len(real_scores) / self.images
        self.p.copy_(torch.where(due, (self.p + change).clamp(0, MAX_P), self.p))
        for total in (self.signs, self.batches):
            total.mul_(~due)


def transformed(images: torch.Tensor, p: torch.Tensor) -> torch.Tensor:
    """Transform each image with its own random numbers, each transformation with probability p; differentiable."""
    grid = F.affine_grid(affine(len(images), p, images), list(images.shape), align_corners=False)
    coloured = _coloured(images, p)
    moved = F.grid_sample(coloured, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    return torch.where(p > 0, moved, images)  # p = 0: the images themselves, without resampling


def affine(count: int, p: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Return matrices float [B, 2, 3] for ``affine_grid``, from transformations drawn in the paper's order."""
    draw = _Draws(count, p, like)
    turn = 1 - torch.sqrt(1 - p)  # two rotations: either happens with probability p
    flip = draw.chosen(1 - 2 * draw.whole(2), 1.0)
    quarter = draw.chosen(draw.whole(4) * (math.pi / 2), 0.0)
    steps = [draw.chosen(draw.uniform() / 4, 0.0) for _ in range(2)]  # up to 1/8 of a side
    scale = draw.chosen(torch.exp(0.2 * LN2 * draw.normal()), 1.0)
    before = draw.chosen(math.pi * draw.uniform(), 0.0, turn)
    stretch = draw.chosen(torch.exp(0.2 * LN2 * draw.normal()), 1.0)
    after = draw.chosen(math.pi * draw.uniform(), 0.0, turn)
    shifts = [draw.chosen(draw.normal() / 4, 0.0) for _ in range(2)]  # 0.125 of a side
    one, zero = torch.ones_like(flip), torch.zeros_like(flip)
    parts = [
        _matrix(flip, zero, zero, one),
        _rotation(quarter),
        _matrix(scale, zero, zero, scale),
        _rotation(before),
        _matrix(stretch, zero, zero, 1 / stretch),
        _rotation(after),
    ]
    linear = parts[0]
    for part in parts[1:]:
        linear = part @ linear
    shift = torch.stack([a + b for a, b in zip(steps, shifts, strict=True)], dim=-1)
    return torch.cat([linear, shift.unsqueeze(-1)], dim=-1)


def _coloured(images: torch.Tensor, p: torch.Tensor) -> torch.Tensor:
    """Change brightness, contrast and luma; with three channels, hue and saturation too."""
    draw = _Draws(len(images), p, images)
    at = (-1, 1, 1, 1)
    images = images + draw.chosen(0.2 * draw.normal(), 0.0).view(at)
    images = images * draw.chosen(torch.exp(0.5 * LN2 * draw.normal()), 1.0).view(at)
    grey = images.mean(dim=1, keepdim=True)
    colour = images - grey
    grey = grey * draw.chosen(1 - 2 * draw.whole(2), 1.0).view(at)  # luma flip
    if images.shape[1] == 3:
        angle = draw.chosen(math.pi * draw.uniform(), 0.0).view(at)
        turned = torch.roll(colour, 1, dims=1) - torch.roll(colour, -1, dims=1)  # the axis (1, 1, 1) × colour, · √3
        colour = colour * torch.cos(angle) + turned * (torch.sin(angle) / math.sqrt(3))
        colour = colour * draw.chosen(torch.exp(LN2 * draw.normal()), 1.0).view(at)
    return grey + colour


class _Draws:
    """Random numbers [B] from torch's generator of the images' device."""

    def __init__(self, count: int, p: torch.Tensor, like: torch.Tensor) -> None:
        self.count, self.p = count, p
        self._device, self._dtype = like.device, like.dtype

    def uniform(self) -> torch.Tensor:
        """Return numbers in [-1, 1); divided by 4, they move by up to an eighth of a side: grids have the length 2."""
        return 2 * self._rand() - 1

    def _rand(self) -> torch.Tensor:
        return torch.rand(self.count, device=self._device, dtype=self._dtype)

    def normal(self) -> torch.Tensor:
        """Return standard normal numbers."""
        return torch.randn(self.count, device=self._device, dtype=self._dtype)

    def whole(self, below: int) -> torch.Tensor:
        """Return whole numbers from 0 to ``below`` - 1."""
        return torch.floor(below * self._rand())

    def chosen(self, values: torch.Tensor, otherwise: float, p: torch.Tensor | None = None) -> torch.Tensor:
        """Return each value with probability p, else the neutral one."""
        applies = self._rand() < (self.p if p is None else p)
        return torch.where(applies, values, torch.full_like(values, otherwise))


def _matrix(a: torch.Tensor, b: torch.Tensor, c: torch.Tensor, d: torch.Tensor) -> torch.Tensor:
    return torch.stack([torch.stack([a, b], dim=-1), torch.stack([c, d], dim=-1)], dim=-2)


def _rotation(angle: torch.Tensor) -> torch.Tensor:
    return _matrix(torch.cos(angle), -torch.sin(angle), torch.sin(angle), torch.cos(angle))
