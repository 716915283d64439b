"""Pictures of a training's progress."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from bench.types import Uint8Images
from tlsgan.data import to_float, to_uint8

SAMPLES = 4  # fixed training images of each domain


@torch.no_grad()
def sample_grid(G_ab: nn.Module, G_ba: nn.Module, domain_a: torch.Tensor, domain_b: torch.Tensor) -> Uint8Images:
    """Return strips uint8 [N, H, 3 W, 3]: real_a | fake_b | rec_a, one an image, then real_b | fake_a | rec_b.

    The domains are uint8 [N, 3, H, W]; their first images are shown. Generators work as at synthesis (running
    statistics of batch norm) and are put back into training mode.
    """
    strips = []
    G_ab.eval()
    G_ba.eval()
    for there, back, domain in ((G_ab, G_ba, domain_a), (G_ba, G_ab, domain_b)):
        real = to_float(domain[:SAMPLES])
        fake = there(real)
        strips.append(np.concatenate([to_uint8(x) for x in (real, fake, back(fake))], axis=2))
    G_ab.train()
    G_ba.train()
    return np.concatenate(strips)
