"""Self-attention for feature maps: Zhang et al. 2019, "Self-Attention Generative Adversarial Networks" (SAGAN).

Changed against it: one attention layer per network, at the largest map up to 32 pixels.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

REDUCTION = 8  # the paper's k: the map's channels divided by those of keys, queries and values
LARGEST_SIDE_PX = 32  # cost grows with the fourth power of the side; the paper's best FIDs are at 32


class SelfAttention(nn.Module):
    """Feature maps float [B, C, H, W] -> the same shape: each position attends to all others (equations 1 to 3).

    β_ji = softmax_i(f(x_i) · g(x_j)), o_j = v(Σ_i β_ji h(x_i)), y = γ o + x, with f, g, h and v convolutions of 1×1.
    γ starts at 0: the network first uses local features and learns to use distant ones.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = max(1, channels // REDUCTION)
        self.key = nn.Conv2d(channels, inner, 1, bias=False)  # f
        self.query = nn.Conv2d(channels, inner, 1, bias=False)  # g
        self.value = nn.Conv2d(channels, inner, 1, bias=False)  # h
        self.out = nn.Conv2d(inner, channels, 1, bias=False)  # v
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the attended map, of the shape of ``x``."""
        g, f, h = (layer(x).flatten(2).transpose(1, 2)[:, None] for layer in (self.query, self.key, self.value))
        o = F.scaled_dot_product_attention(
            g, f, h, scale=1.0
        )  # [B, 1, H·W, C'], without storing the matrix of all pairs
        o = o[:, 0].transpose(1, 2).reshape(len(x), -1, *x.shape[2:])
        return self.gamma * self.out(o) + x


def attended_side(sides: list[int]) -> int:
    """Return the side of the feature map to apply attention to: the largest up to 32, else the smallest.

    >>> attended_side([8, 16, 32, 64]), attended_side([6, 12, 24, 48]), attended_side([33, 66])
    (32, 24, 33)
    """
    return max((s for s in sides if s <= LARGEST_SIDE_PX), default=min(sides))
