"""The network of ``small_cnn``; separate from its config so that planning a run does not import torch."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn


class SmallCNNNetwork(nn.Module):
    """Float [B, 3, H, W] in [0, 1] -> logits [B, num_classes]. H and W are at least 16.

    Input is normalised by channel, (x - mean) / sd; mean and sd are 1/2 unless set by ``normalise_by``, and are saved
    with the weights.
    """

    mean: torch.Tensor
    sd: torch.Tensor

    def __init__(self, num_classes: int, width: int, dropout: float) -> None:
        super().__init__()
        channels = [3, width, 2 * width, 4 * width, 8 * width]
        for name in ("mean", "sd"):
            self.register_buffer(name, torch.full((1, 3, 1, 1), 0.5))
        self.blocks = nn.Sequential(*(_block(a, b) for a, b in pairwise(channels)))
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(channels[-1], num_classes)

    def normalise_by(self, mean: Sequence[float], sd: Sequence[float]) -> None:
        """Normalise by these statistics of the three channels, of images in [0, 1]; sd above 0."""
        self.mean.copy_(torch.tensor(mean).view(1, 3, 1, 1))
        self.sd.copy_(torch.tensor(sd).view(1, 3, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits [B, num_classes]."""
        features = self.blocks((x - self.mean) / self.sd).mean(dim=(2, 3))
        return self.head(self.dropout(features))


def _block(channels_in: int, channels_out: int) -> nn.Sequential:
    # Pooling before the activation gives the same result (ReLU is monotone) on a quarter of the values.
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.MaxPool2d(2),
        nn.ReLU(inplace=True),
    )
