"""Differentiable augmentation (Zhao et al. 2020, "Differentiable Augmentation for Data-Efficient GAN Training").

Discriminator inputs, real and fake, are augmented in both phases (eq. 4–6 of the paper) with gradients. This prevents
the discriminator from memorising a small training set, and the generator does not reproduce the augmentations. The
strengths are the paper's. Changes to its code: the random numbers come from torch's generator of the images' device,
and shifts are matrix products.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

MAX_SHIFT = 1 / 8  # of a side
CUTOUT = 1 / 2  # of a side


class DiffAugment:
    """Apply the named augmentations in the paper's order to float [B, 3, H, W] in [-1, 1], drawn for each image."""

    def __init__(self, names: tuple[str, ...]):
        self.changes = [change for name, change in CHANGES.items() if name in names]

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Return the images with every change, one draw for each image; the shape stays."""
        for change in self.changes:
            images = change(images)
        return images

    def __bool__(self) -> bool:
        return bool(self.changes)


def color(images: torch.Tensor) -> torch.Tensor:
    """Change brightness by up to ±0.5, saturation by a factor in [0, 2], contrast by a factor in [0.5, 1.5]."""
    draws = torch.rand(3, len(images), 1, 1, 1, device=images.device, dtype=images.dtype)
    images = images + (draws[0] - 0.5)
    grey = images.mean(dim=1, keepdim=True)
    images = grey + (images - grey) * (2 * draws[1])
    middle = images.mean(dim=(1, 2, 3), keepdim=True)
    return middle + (images - middle) * (draws[2] + 0.5)


def translation(images: torch.Tensor) -> torch.Tensor:
    """Shift by up to an eighth of each side; uncovered pixels are 0."""
    _, _, height, width = images.shape
    rows, columns = (_shift_matrix(len(images), side, images) for side in (height, width))
    return rows @ images @ columns.transpose(-1, -2)


def _shift_matrix(count: int, side: int, like: torch.Tensor) -> torch.Tensor:
    """Return [B, 1, side, side]: row y has a 1 at the position that moves to y, if that is inside the image."""
    reach = int(side * MAX_SHIFT + 0.5)
    shift = torch.randint(-reach, reach + 1, (count, 1, 1, 1), device=like.device)
    place = torch.arange(side, device=like.device)
    return (place.view(-1, 1) + shift == place).to(like.dtype)


def cutout(images: torch.Tensor) -> torch.Tensor:
    """Set a rectangle with half of each side to 0; its centre is anywhere, so a part may lie outside."""
    count, _, height, width = images.shape
    inside = [_interval(count, side, images.device) for side in (height, width)]
    hole = inside[0].view(count, 1, height, 1) & inside[1].view(count, 1, 1, width)
    return images.masked_fill(hole, 0.0)


def _interval(count: int, side: int, device: torch.device) -> torch.Tensor:
    size = int(side * CUTOUT + 0.5)
    start = torch.randint(0, side + 1 - size % 2, (count, 1), device=device) - size // 2
    place = torch.arange(side, device=device)
    return (place >= start) & (place < start + size)


CHANGES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "color": color,
    "translation": translation,
    "cutout": cutout,
}
