"""Networks of ``cgan`` that grow from small images to large ones.

Karras, Aila, Laine & Lehtinen 2018, "Progressive Growing of GANs for Improved Quality, Stability, and Variation"
(section 2, figure 2). Changed against it: only the growing is used; layers and loss are those of ``cgan``. The side of
images of level k is 2^k times that of the first feature map; images of the last level have the full size.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from baselines.cgan_attention import SelfAttention, attended_side
from baselines.cgan_networks import doubling, map_sides, map_widths, normalise_spectrally, stages

SLOPE = 0.2  # of the leaky ReLU


class Growth(NamedTuple):
    """State of growth: ``level`` in 1..levels, weight ``alpha`` in (0, 1] of the level's layers, its first step."""

    level: int
    alpha: float
    start: int


def growth(step: int, steps: int, levels: int) -> Growth:
    """Return the state of growth at a step. Levels have equal numbers of steps; each but the first fades in for half.

    The last step is always of the last level, with alpha 1. With fewer steps than levels the first levels are skipped.

    >>> growth(0, 12, 3), growth(4, 12, 3), growth(11, 12, 3)
    (Growth(level=1, alpha=1.0, start=0), Growth(level=2, alpha=0.5, start=4), Growth(level=3, alpha=1.0, start=8))
    """
    starts = [level * steps // levels for level in range(levels + 1)]
    level = max(k for k in range(levels) if starts[k] <= step)
    fading = (starts[level + 1] - starts[level]) / 2
    alpha = min(1.0, (step - starts[level] + 1) / max(1.0, fading)) if level else 1.0
    return Growth(level + 1, alpha, starts[level])


def at_growth(images: torch.Tensor, g: Growth, levels: int) -> torch.Tensor:
    """Return images float [B, C, S, S] at a level's side; while it fades in, blended with those of the level below."""
    shrink = 2 ** (levels - g.level)
    small = F.avg_pool2d(images, shrink) if shrink > 1 else images
    if g.alpha == 1:
        return small
    return torch.lerp(F.interpolate(F.avg_pool2d(small, 2), scale_factor=2), small, g.alpha)


class ProgressiveGenerator(nn.Module):
    """Noise float [B, z_dim] and labels int64 [B] -> images float [B, C, S_level, S_level] in [-1, 1].

    Feature maps as in ``cgan_networks.Generator`` and one more at the image's side, each with a 1×1 convolution to RGB.
    A level that fades in is blended with the enlarged image of the level below. A new network is at the last level.
    """

    def __init__(
        self, num_classes: int, image_size_px: int, z_dim: int, filters: int, attention: bool = False,
        channels: int = 3, upsample: str = "transposed",
    ) -> None:  # fmt: skip
        super().__init__()
        self.side, self.levels = stages(image_size_px)
        widths = [*map_widths(filters, self.levels), filters]
        self.z_dim, self.widest = z_dim, widths[0]
        self.label = nn.Embedding(num_classes, z_dim)
        self.dense = nn.Linear(2 * z_dim, self.widest * self.side**2, bias=False)
        self.dense_norm = nn.BatchNorm1d(self.widest * self.side**2, affine=False)
        self.norms = nn.ModuleList([nn.Identity(), *(nn.BatchNorm2d(w, affine=False) for w in widths[1:])])
        self.modulations = nn.ModuleList(nn.Linear(2 * z_dim, 2 * w) for w in widths)
        self.ups = nn.ModuleList(doubling(a, b, upsample) for a, b in pairwise(widths))
        self.to_rgb = nn.ModuleList(nn.Conv2d(w, channels, 1) for w in widths[1:])
        self.attended = attended_side(map_sides(image_size_px)) if attention else None
        if self.attended:
            self.attention = SelfAttention(widths[map_sides(image_size_px).index(self.attended)])
        self.level, self.alpha = self.levels, 1.0

    def grow(self, level: int, alpha: float) -> None:
        """Set the level and the weight ``alpha`` of its layers."""
        self.level, self.alpha = level, alpha

    def forward(self, z: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return images float [B, C, S_level, S_level] in [-1, 1]."""
        condition = torch.cat([z, self.label(labels)], dim=1)
        x = self.dense_norm(self.dense(condition)).view(-1, self.widest, self.side, self.side)
        x = before = self._activate(0, x, condition)
        for k in range(1, self.level + 1):
            before, x = x, self._activate(k, self.ups[k - 1](x), condition)
        image = torch.tanh(self.to_rgb[self.level - 1](x))
        if self.alpha == 1:
            return image
        old = torch.tanh(self.to_rgb[self.level - 2](before))
        return torch.lerp(F.interpolate(old, scale_factor=2), image, self.alpha)

    def _activate(self, k: int, x: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        scale, shift = self.modulations[k](condition)[:, :, None, None].chunk(2, dim=1)
        x = F.relu(self.norms[k](x) * (1 + scale) + shift)
        return self.attention(x) if x.shape[-1] == self.attended else x


class ProgressiveDiscriminator(nn.Module):
    """Images float [B, C, S_level, S_level] in [-1, 1] and labels int64 [B] -> scores float [B], high for real.

    Layers as in ``cgan_networks.Discriminator``, each with a 1×1 convolution from RGB, and no instance norm: any layer
    may be the first one, and there it removes the mean colour (two classes then swapped their colours). While a level
    fades in, its output is blended with the level below applied to the halved image.
    """

    def __init__(
        self,
        num_classes: int,
        image_size_px: int,
        filters: int,
        attention: bool = False,
        spectral: bool = False,
        channels: int = 3,
    ) -> None:
        super().__init__()
        _, self.levels = stages(image_size_px)
        widths = [*map_widths(filters, self.levels), filters]
        self.from_rgb = nn.ModuleList(nn.Conv2d(channels, w, 1) for w in widths[1:])
        self.downs = nn.ModuleList(nn.Conv2d(b, a, 4, stride=2, padding=1) for a, b in pairwise(widths))
        self.last = nn.Conv2d(widths[0], widths[0], 3, padding=1)
        self.score = nn.Linear(widths[0], 1)
        self.label = nn.Embedding(num_classes, widths[0])
        nn.init.normal_(self.label.weight, 0.0, 0.02)
        self.attended = attended_side(map_sides(image_size_px)) if attention else None
        if self.attended:
            self.attention = SelfAttention(widths[map_sides(image_size_px).index(self.attended)])
        if spectral:
            normalise_spectrally(self)
        self.level, self.alpha = self.levels, 1.0

    def grow(self, level: int, alpha: float) -> None:
        """Set the level and the weight ``alpha`` of its layers."""
        self.level, self.alpha = level, alpha

    def forward(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return scores float [B]."""
        x = F.leaky_relu(self.from_rgb[self.level - 1](images), SLOPE)
        for k in reversed(range(self.level)):
            x = F.leaky_relu(self.downs[k](self._attend(x)), SLOPE)
            if k == self.level - 1 and self.alpha < 1:
                old = F.leaky_relu(self.from_rgb[k - 1](F.avg_pool2d(images, 2)), SLOPE)
                x = torch.lerp(old, x, self.alpha)
        features = F.leaky_relu(self.last(self._attend(x)), SLOPE).mean(dim=(2, 3))
        return self.score(features).squeeze(1) + (self.label(labels) * features).sum(dim=1)

    def _attend(self, x: torch.Tensor) -> torch.Tensor:
        return self.attention(x) if x.shape[-1] == self.attended else x
