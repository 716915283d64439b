"""Stain vectors and stain normalisation of histology tiles, in batches.

Macenko et al. 2009, "A method for normalizing histology slides for quantitative analysis" (ISBI). Changed against it:
natural logarithms, as in public implementations; the largest density of a stain is taken over tissue pixels only, so
that it does not depend on how much glass a tile shows. The public packages normalise to one chosen tile and stop at
tiles of pure glass; here the target is fitted on many tiles, and tiles without tissue are left as they are.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

WHITE = 240.0  # grey level, of 1 to 256, that has optical density 0
LEAST_DENSITY = 0.15  # in all channels: a pixel is tissue (β of the paper)
PERCENTILE = 1.0  # of the angles at each end; of the densities at the upper end (α of the paper)
LEAST_TISSUE = 0.01  # share of tissue pixels below which a tile is left as it is
LEAST_ANGLE = 0.03  # radians between the two stains below which they cannot be separated


class Stains(NamedTuple):
    """Per tile: two unit vectors of optical density, float [B, 2, 3] (haematoxylin first, which absorbs more red), the
    largest density of each stain, float [B, 2], and whether the tile has two stains that can be separated, bool [B].
    """

    vectors: torch.Tensor
    largest: torch.Tensor
    found: torch.Tensor


def optical_density(images: torch.Tensor) -> torch.Tensor:
    """Return −ln((255 x + 1) / 240), float [B, 3, P], of images float [B, 3, H, W] in [0, 1]."""
    return -torch.log((images.flatten(2).double() * 255 + 1) / WHITE)


def tissue_pixels(density: torch.Tensor) -> torch.Tensor:
    """Return which pixels are tissue, bool [B, P]."""
    return (density > LEAST_DENSITY).all(dim=1)


def find_stains(density: torch.Tensor) -> Stains:
    """Return the stains of tiles, from their densities float [B, 3, P].

    The tissue pixels are projected on the plane of the two first principal directions; the stain vectors are the
    directions at the 1st and the 99th percentile of the angle in this plane.
    """
    tissue = tissue_pixels(density)
    weights = tissue.to(density)
    number = weights.sum(dim=1).clamp_min(1)
    mean = (density * weights[:, None]).sum(dim=2) / number[:, None]
    centred = (density - mean[:, :, None]) * weights[:, None]
    covariance = centred @ centred.transpose(1, 2) / (number - 1).clamp_min(1)[:, None, None]
    plane = torch.linalg.eigh(covariance).eigenvectors[:, :, [2, 1]]
    sign = torch.where(plane.sum(dim=1, keepdim=True) < 0, -1.0, 1.0)  # tissue must not lie at an angle of ±180°
    plane = plane * sign
    across = plane.transpose(1, 2) @ density
    angle = torch.atan2(across[:, 1], across[:, 0])
    ends = torch.stack([_percentile(angle, tissue, q) for q in (PERCENTILE, 100 - PERCENTILE)], dim=1)
    vectors = torch.cos(ends)[..., None] * plane[:, None, :, 0] + torch.sin(ends)[..., None] * plane[:, None, :, 1]
    swapped = vectors[:, 0, 0] < vectors[:, 1, 0]
    vectors = torch.where(swapped[:, None, None], vectors.flip(1), vectors)
    found = (tissue.double().mean(dim=1) >= LEAST_TISSUE) & (ends[:, 1] - ends[:, 0] >= LEAST_ANGLE)
    vectors = torch.where(found[:, None, None], vectors, torch.eye(2, 3).to(vectors))
    amounts = separate(density, vectors)
    largest = torch.stack([_percentile(amounts[:, i], tissue, 100 - PERCENTILE) for i in (0, 1)], dim=1)
    found &= (largest > 0).all(dim=1)
    return Stains(vectors, torch.where(found[:, None], largest, 1.0), found)


def separate(density: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
    """Return the amount of both stains in each pixel, float [B, 2, P]: the least-squares solution."""
    return torch.linalg.solve(vectors @ vectors.transpose(1, 2), vectors @ density)


def normalised(images: torch.Tensor, vectors: torch.Tensor, largest: torch.Tensor) -> torch.Tensor:
    """Return images float [B, 3, H, W] in [0, 1] with the stains ``vectors`` float [2, 3] and ``largest`` float [2].

    A tile without two separable stains, such as pure glass, is returned unchanged.
    """
    density = optical_density(images)
    own = find_stains(density)
    amounts = separate(density, own.vectors) * (largest.to(density) / own.largest)[:, :, None]
    made = (WHITE * torch.exp(-(vectors.to(density).T @ amounts)) - 1) / 255
    made = made.clamp(0, 1).view(images.shape).to(images.dtype)
    return torch.where(own.found[:, None, None, None], made, images)


def _percentile(values: torch.Tensor, where: torch.Tensor, percent: float) -> torch.Tensor:
    """Return the nearest percentile, float [B], of each row of values float [B, P] where ``where`` holds; else 0."""
    ordered = torch.where(where, values, torch.inf).sort(dim=1).values
    number = where.sum(dim=1)
    place = ((number - 1).clamp_min(0) * (percent / 100)).round().long()
    return torch.where(number > 0, ordered.gather(1, place[:, None])[:, 0], 0.0)
