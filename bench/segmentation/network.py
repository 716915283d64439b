"""A small U-Net (Ronneberger, Fischer, Brox 2015, "U-Net: Convolutional Networks for Biomedical Image Segmentation").

Differences from the paper: convolutions are padded, so that the map is as large as the image; batch norm (Ioffe &
Szegedy 2015) after each; nearest-neighbour upsampling instead of transposed convolutions; three downsamplings instead
of four, and fewer filters.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn

HALVINGS = 3  # of the image, on the way down


class UNet(nn.Module):
    """Images float [B, 3, H, W] in [0, 1] -> logits [B, H, W] of the foreground; H and W are at least 8.

    ``filters`` are those of the first stage; each halving doubles them.
    """

    def __init__(self, filters: int = 16):
        super().__init__()
        widths = [filters * 2**i for i in range(HALVINGS + 1)]
        self.down = nn.ModuleList(_stage(a, b) for a, b in zip([3, *widths], widths, strict=False))
        self.up = nn.ModuleList(_stage(a + b, a) for a, b in pairwise(widths))
        self.head = nn.Conv2d(filters, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits of the foreground, [B, H, W]."""
        x = x * 2 - 1
        skips: list[torch.Tensor] = []
        for i, stage in enumerate(self.down):
            x = stage(F.max_pool2d(x, 2) if i else x)
            skips.append(x)
        x = skips.pop()
        for stage in reversed(self.up):
            skip = skips.pop()
            x = stage(torch.cat([F.interpolate(x, size=skip.shape[-2:]), skip], dim=1))
        return self.head(x).squeeze(1)


def _stage(inputs: int, outputs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for width in (inputs, outputs):
        layers += [nn.Conv2d(width, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)
