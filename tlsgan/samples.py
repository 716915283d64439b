"""Sample images during a training."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from bench.types import Uint8Images
from tlsgan.data import to_float, to_uint8

SAMPLES = 4  # fixed training images of each domain


@torch.no_grad()
def sample_grid(G_ab: nn.Module, G_ba: nn.Module, domain_a: torch.Tensor, domain_b: torch.Tensor) -> Uint8Images:
    """Return strips uint8 [N, H, 3 W, 3]: real_a | fake_b | rec_a for each image, then real_b | fake_a | rec_b.

    The domains are uint8 [N, C, H, W]; the grid shows their first ``SAMPLES`` images. The generators run in evaluation
    mode, as in synthesis, and are set to training mode afterwards.
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
