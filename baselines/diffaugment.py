"""Differentiable augmentation: the same kinds of random change for real and generated images.

Zhao et al. 2020, "Differentiable Augmentation for Data-Efficient GAN Training": with few images the discriminator
would learn them by heart; it never sees one unchanged, and gradients reach the generator through the changes.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

SHIFT = 1 / 8  # of the image's side, as in the paper
HOLE = 1 / 2  # of the image's side, as in the paper


def diffaugment(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Return changed images float [B, 3, S, S], each with its own draws: mirror, shift, cutout.

    ``generator`` is on the CPU. The paper's colour changes are left out: the stain is what is to be learned.
    """
    u = torch.rand(len(images), 5, generator=generator).to(images.device)
    images = torch.where(u[:, 0].view(-1, 1, 1, 1) < 0.5, images.flip(3), images)
    return cutout(shift(images, u[:, 1:3]), u[:, 3:5])


def shift(images: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
    """Move each image by whole pixels, up to ``SHIFT`` either way; mirrored pixels fill the rim. u: [B, 2]."""
    b, _, side, _ = images.shape
    reach = max(1, round(side * SHIFT))
    padded = F.pad(images, (reach,) * 4, mode="reflect")
    start = (u * (2 * reach + 1)).long()
    span = torch.arange(side, device=images.device)
    rows, columns = (start[:, i, None] + span for i in (0, 1))
    batch = torch.arange(b, device=images.device)[:, None, None]
    return padded.permute(0, 2, 3, 1)[batch, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def cutout(images: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
    """Set a square of side ``HOLE`` to 0 (mid grey) about a random centre. u: [B, 2] in [0, 1)."""
    side = images.shape[2]
    span = torch.arange(side, device=images.device)
    near = [(span - (u[:, i, None] * side).floor()).abs() < side * HOLE / 2 for i in (0, 1)]
    hole = near[0][:, None, :, None] & near[1][:, None, None, :]
    return images * (~hole)
