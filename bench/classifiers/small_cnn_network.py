"""The network of ``small_cnn``; apart from its config so that planning a run does not import torch."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn


class SmallCNNNetwork(nn.Module):
    """Float [B, 3, H, W] in [0, 1] -> logits [B, num_classes]. H and W are at least 16."""

    def __init__(self, num_classes: int, width: int, dropout: float) -> None:
        super().__init__()
        channels = [3, width, 2 * width, 4 * width, 8 * width]
        self.blocks = nn.Sequential(*(_block(a, b) for a, b in pairwise(channels)))
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(channels[-1], num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits [B, num_classes]."""
        features = self.blocks(2 * x - 1).mean(dim=(2, 3))
        return self.head(self.dropout(features))


def _block(channels_in: int, channels_out: int) -> nn.Sequential:
    # Pooling before the activation is the same function as after it (ReLU is monotone) on a quarter of the values.
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.MaxPool2d(2),
        nn.ReLU(inplace=True),
    )
