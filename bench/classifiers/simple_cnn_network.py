"""The network of ``simple_cnn``; separate from its config so that planning a run does not import torch.

The source gives the order of layers. Widths and kernels are not published: 3×3 with padding, 32 and 64 channels and 128
hidden units are our choice.
"""

from __future__ import annotations

import torch
from torch import nn

WIDTHS, HIDDEN = (32, 64), 128


class SimpleCNNNetwork(nn.Module):
    """Float [B, 3, S, S] in [0, 1] -> logits [B, num_classes], for one side S, which the flattening fixes."""

    def __init__(self, num_classes: int, image_size_px: int) -> None:
        super().__init__()
        first, second = WIDTHS
        self.layers = nn.Sequential(
            nn.Conv2d(3, first, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(first, second, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(second * (image_size_px // 4) ** 2, HIDDEN),
            nn.ReLU(),
            nn.Linear(HIDDEN, num_classes),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits [B, num_classes]."""
        logits: torch.Tensor = self.layers(x)
        return logits
