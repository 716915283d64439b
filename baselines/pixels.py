"""Conversion between stored images (uint8, HWC) and images of generative networks (float in [-1, 1], CHW)."""

from __future__ import annotations

import numpy as np
import torch

from bench.types import Uint8Images


def to_float(images: torch.Tensor) -> torch.Tensor:
    """Convert uint8 [N, H, W, C] to float [N, C, H, W] in [-1, 1]."""
    return images.permute(0, 3, 1, 2).float().div_(127.5).sub_(1)


def to_uint8(images: torch.Tensor) -> Uint8Images:
    """Convert float [N, C, H, W] in [-1, 1] to uint8 [N, H, W, 3], rounded and clipped; one channel is repeated."""
    scaled = images.detach().add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8).expand(-1, 3, -1, -1)
    return np.ascontiguousarray(scaled.permute(0, 2, 3, 1).cpu().numpy())
