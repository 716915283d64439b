"""The contrastive loss of patches, PatchNCE (Park et al. 2020, "Contrastive Learning for Unpaired Image-to-Image
Translation", section 3), on feature maps of a ``ResNetGenerator``.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from tlsgan.generators import ResNetGenerator

FIRST_BLOCK = 10  # number of the first residual block in ``ResNetGenerator.model``


def compared_layers(blocks: int) -> tuple[int, ...]:
    """Return the layers of ``ResNetGenerator.model`` whose outputs are compared, after the image itself.

    Both downsampling convolutions, the first block and the middle one: of nine blocks, the first and the fifth, as in
    the paper.

    >>> compared_layers(9), compared_layers(1)
    ((4, 7, 10, 14), (4, 7, 10))
    """
    return tuple(sorted({4, 7, FIRST_BLOCK, FIRST_BLOCK + (blocks - 1) // 2}))


def channels_of(config_filters: int, blocks: int, image_channels: int) -> list[int]:
    """Return the channels of the image and of each compared layer."""
    widths = {4: 2 * config_filters, 7: 4 * config_filters}
    return [image_channels, *(widths.get(layer, 4 * config_filters) for layer in compared_layers(blocks))]


def translate(G: ResNetGenerator, x: torch.Tensor, layers: Sequence[int]) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Return translations [B, C, H, W] and the compared maps of images: themselves, and the outputs of the layers."""
    maps = [x]
    for i, layer in enumerate(G.model):
        x = layer(x)
        if i in layers:
            maps.append(x)
    return x, maps


def encode(G: ResNetGenerator, x: torch.Tensor, layers: Sequence[int]) -> list[torch.Tensor]:
    """Return the compared maps only; the layers after the last of them are not computed."""
    maps = [x]
    for i, layer in enumerate(G.model[: max(layers) + 1]):
        x = layer(x)
        if i in layers:
            maps.append(x)
    return maps


class PatchProjection(nn.Module):
    """Maps [B, C, H, W] and places int64 [P] -> unit vectors [B, P, F] by a network with one hidden layer."""

    def __init__(self, channels: int, features: int) -> None:
        super().__init__()
        hidden, last = nn.Linear(channels, features), nn.Linear(features, features)
        self.layers = nn.Sequential(hidden, nn.ReLU(), last)
        for layer in (hidden, last):
            nn.init.normal_(layer.weight, 0.0, 0.02)
            nn.init.zeros_(layer.bias)

    def forward(self, x: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """Return the vectors of the places, which count row by row."""
        return F.normalize(self.layers(x.flatten(2)[:, :, places].transpose(1, 2)), dim=2, eps=1e-7)


def draw_places(maps: Sequence[torch.Tensor], patches: int, draw: torch.Generator) -> list[torch.Tensor]:
    """Return the places of each map that are compared, int64, different ones; all of them if there are fewer."""
    return [
        torch.randperm(x.shape[2] * x.shape[3], generator=draw)[:patches].to(x.device, non_blocking=True) for x in maps
    ]


def patch_nce(query: torch.Tensor, key: torch.Tensor, temperature: float) -> torch.Tensor:
    """Return −log softmax(q · k / τ) at the key of the same place, a mean over places and images (equations 1 to 3).

    ``query`` are vectors float [B, P, F] of translations, ``key`` those of their sources, which get no gradient; the
    other places of the same source are the negatives.
    """
    logits = query @ key.detach().transpose(1, 2) / temperature
    target = torch.arange(logits.shape[1], device=logits.device).expand(len(logits), -1)
    return F.cross_entropy(logits.flatten(0, 1), target.flatten())
