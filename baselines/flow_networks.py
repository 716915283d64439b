"""The U-Net of ``flow_matching``: a velocity for each pixel, given the noisy image, the time and the class.

After Ho et al. 2020, "Denoising Diffusion Probabilistic Models" (residual blocks with group norm in a U-Net, time by
sines and cosines), and Dhariwal & Nichol 2021, "Diffusion Models Beat GANs on Image Synthesis" (time and class scale
and shift each block). Changed against them: one block a side, at most twice the first width, and no attention, so that
it trains on a CPU in minutes.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn

from baselines.cgan_networks import stages

GROUPS = 8  # of the group norms, fewer if the channels are no multiple of it
FREQUENCIES = 16  # of the time's sines and cosines
HIGHEST = 1000.0  # angular frequency
WIDENING = 2  # channels of all maps but the first, as a multiple of ``filters``


class Block(nn.Module):
    """Maps float [B, I, H, W] and embeddings [B, E] -> maps [B, O, H, W]; the last convolution starts at 0."""

    def __init__(self, inputs: int, outputs: int, embedding: int) -> None:
        super().__init__()
        self.norm_in, self.norm_out = _norm(inputs), _norm(outputs, affine=False)
        self.conv_in = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.conv_out = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.modulation = nn.Linear(embedding, 2 * outputs)
        self.skip = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()
        for parameter in self.conv_out.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: torch.Tensor, embedding: torch.Tensor) -> torch.Tensor:
        """Return skip(x) + conv(SiLU(norm(conv(SiLU(norm(x)))) · (1 + scale) + shift))."""
        scale, shift = self.modulation(embedding)[:, :, None, None].chunk(2, dim=1)
        y = self.norm_out(self.conv_in(F.silu(self.norm_in(x)))) * (1 + scale) + shift
        return self.skip(x) + self.conv_out(F.silu(y))


class VelocityUNet(nn.Module):
    """Images float [B, C, S, S], times [B] in [0, 1] and labels int64 [B] -> velocities [B, C, S, S].

    The side is halved until it is odd or at most 8 pixels. With ``unlabelled`` the label ``num_classes`` stands for an
    image without label (Ho & Salimans 2022, "Classifier-Free Diffusion Guidance", section 3.2: the null token).
    """

    frequencies: torch.Tensor

    def __init__(
        self, num_classes: int, image_size_px: int, filters: int, channels: int, unlabelled: bool = False
    ) -> None:
        super().__init__()
        _, halvings = stages(image_size_px)
        widths = [filters, *[WIDENING * filters] * halvings]
        embedding = 4 * filters
        self.time = nn.Sequential(nn.Linear(2 * FREQUENCIES, embedding), nn.SiLU(), nn.Linear(embedding, embedding))
        self.label = nn.Embedding(num_classes + unlabelled, embedding)
        self.first = nn.Conv2d(channels, filters, 3, padding=1)
        self.down = nn.ModuleList(Block(a, a, embedding) for a in widths[:-1])
        self.halve = nn.ModuleList(nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in pairwise(widths))
        self.middle = Block(widths[-1], widths[-1], embedding)
        self.enlarge = nn.ModuleList(nn.Conv2d(b, a, 3, padding=1) for b, a in pairwise(reversed(widths)))
        self.up = nn.ModuleList(Block(2 * a, a, embedding) for a in reversed(widths[:-1]))
        self.norm, self.last = _norm(filters), nn.Conv2d(filters, channels, 3, padding=1)
        for parameter in self.last.parameters():
            nn.init.zeros_(parameter)
        frequencies = torch.logspace(0, math.log10(HIGHEST), FREQUENCIES)
        self.register_buffer("frequencies", frequencies, persistent=False)

    def forward(self, x: torch.Tensor, times: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return velocities [B, C, S, S]."""
        angles = times[:, None] * self.frequencies
        embedding = F.silu(self.time(torch.cat([angles.sin(), angles.cos()], dim=1)) + self.label(labels))
        x, kept = self.first(x), []
        for block, halve in zip(self.down, self.halve, strict=True):
            x = block(x, embedding)
            kept.append(x)
            x = halve(x)
        x = self.middle(x, embedding)
        for enlarge, block in zip(self.enlarge, self.up, strict=True):
            x = enlarge(F.interpolate(x, scale_factor=2))
            x = block(torch.cat([x, kept.pop()], dim=1), embedding)
        velocities: torch.Tensor = self.last(F.silu(self.norm(x)))
        return velocities


def _norm(channels: int, affine: bool = True) -> nn.GroupNorm:
    return nn.GroupNorm(math.gcd(GROUPS, channels), channels, affine=affine)
