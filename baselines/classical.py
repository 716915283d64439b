"""Classical augmentation: flips and right-angle rotations, small rotations and zooms, colour and stain jitter.

Stain jitter after Tellez et al. 2018, "Whole-slide mitosis detection in H&E breast histology using PHH3 as a
reference to train distilled stain-invariant convolutional networks": colours are separated into haematoxylin, eosin
and residual (Ruifrok & Johnston 2001), and each is scaled and shifted. Changed against it: the ranges, and the
transformations other than of stain. Each image of a batch has its own random values.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from bench.errors import ConfigError
from bench.types import Choice, FloatRange, SearchRange

if TYPE_CHECKING:
    import torch

# Optical density of haematoxylin, eosin and their residual in R, G, B (Ruifrok & Johnston 2001), rows of unit length.
HED = ((0.650, 0.704, 0.286), (0.072, 0.990, 0.105), (0.268, 0.570, 0.776))
LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class ClassicalConfig:
    """Strengths; 0 switches a transformation off. Values are uniform in a range that is symmetric about no change."""

    orientation: Literal["any", "mirror", "none"] = (
        "any"  # any: the 8 symmetries of the square; mirror: horizontal flips
    )
    rotate_deg: float = 15.0  # rotation in ±rotate_deg degrees
    zoom: float = 0.1  # scale factor in 1 ± zoom
    brightness: float = 0.1  # added to all channels, in the image's range [0, 1]
    contrast: float = 0.15  # factor 1 ± contrast about the image's mean grey value
    saturation: float = 0.15  # factor 1 ± saturation about each pixel's grey value
    stain: float = 0.05  # optical density: factor 1 ± stain, shift ± stain; for H&E, 0 for grey images

    def __post_init__(self) -> None:
        """Raise ``ConfigError`` for strengths out of range."""
        if self.orientation not in ("any", "mirror", "none"):
            raise ConfigError(f"orientation: got {self.orientation!r}, expected 'any', 'mirror' or 'none'")
        if not 0 <= self.rotate_deg <= 180:
            raise ConfigError(f"rotate_deg: got {self.rotate_deg}, expected 0 to 180 degrees")
        for name in ("zoom", "brightness", "contrast", "saturation", "stain"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"{name}: got {getattr(self, name)}, expected 0 or more and less than 1")


class Classical:
    """Random label-preserving transformations of real images, drawn for every image at every step."""

    kind: ClassVar[Literal["online"]] = "online"
    version: ClassVar[int] = 1
    Config: ClassVar[type] = ClassicalConfig
    # A chest upside down does not occur, ultrasound has its probe on top, and grey images have neither stain nor
    # saturation; blood smears and skin are not stained with haematoxylin and eosin.
    by_modality: ClassVar[dict[str, dict[str, object]]] = {
        "chest": {"orientation": "mirror", "saturation": 0.0, "stain": 0.0},
        "ultrasound": {"orientation": "mirror", "saturation": 0.0, "stain": 0.0},
        "cells": {"orientation": "any", "stain": 0.0},
        "dermoscopy": {"stain": 0.0},
    }

    def __init__(self, config: ClassicalConfig) -> None:
        self.config = config

    def search_space(self) -> dict[str, SearchRange]:
        """Return ranges of all strengths, from none to the largest at which tissue is recognisable."""
        return {
            "orientation": Choice(("any", "mirror", "none")),
            "rotate_deg": FloatRange(0.0, 45.0),
            "zoom": FloatRange(0.0, 0.3),
            "brightness": FloatRange(0.0, 0.3),
            "contrast": FloatRange(0.0, 0.4),
            "saturation": FloatRange(0.0, 0.4),
            "stain": FloatRange(0.0, 0.15),
        }

    def sampling_weights(self, labels: npt.NDArray[np.int64]) -> npt.NDArray[np.float64] | None:
        """Return None: every image has the same weight."""
        return None

    def transform(
        self, images: torch.Tensor, targets: torch.Tensor, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return transformed images float [B, 3, H, W] in [0, 1] and the same targets."""
        draw = _Draws(images, generator)
        return self._coloured(self._moved(images, draw), draw), targets

    def transform_with_masks(
        self, images: torch.Tensor, masks: torch.Tensor, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return transformed images float [B, 3, H, W] in [0, 1] and masks float [B, H, W] of 0 and 1.

        Images are those of ``transform``; masks get the same flips, rotations and zooms. A pixel of an interpolated
        mask is foreground from 0.5 on.
        """
        import torch

        draw = _Draws(images, generator)
        moved = self._moved(torch.cat([images, masks[:, None].to(images)], dim=1), draw)
        return self._coloured(moved[:, :3], draw), (moved[:, 3] >= 0.5).to(masks)

    def _moved(self, images: torch.Tensor, draw: _Draws) -> torch.Tensor:
        c = self.config
        images = orient(images, draw, c.orientation)
        if c.rotate_deg or c.zoom:
            images = rotate_and_zoom(images, draw.symmetric(c.rotate_deg), 1 + draw.symmetric(c.zoom))
        return images

    def _coloured(self, images: torch.Tensor, draw: _Draws) -> torch.Tensor:
        c = self.config
        if c.stain:
            images = jitter_stain(images, 1 + draw.symmetric(c.stain, 3), draw.symmetric(c.stain, 3))
        images = jitter_colour(
            images, draw.symmetric(c.brightness), 1 + draw.symmetric(c.contrast), 1 + draw.symmetric(c.saturation)
        )
        return images.clamp(0, 1)


class _Draws:
    """Uniform random numbers for each image of a batch, drawn on the CPU and moved to the batch's device."""

    def __init__(self, like: torch.Tensor, generator: torch.Generator) -> None:
        self.like, self.generator = like, generator

    def symmetric(self, strength: float, channels: int = 1) -> torch.Tensor:
        """Return float [B, channels, 1, 1], uniform in ±strength."""
        import torch

        u = torch.rand(len(self.like), channels, 1, 1, generator=self.generator)
        return ((2 * u - 1) * strength).to(self.like.device)

    def coin(self) -> torch.Tensor:
        """Return bool [B, 1, 1, 1], true with probability 0.5."""
        return self.symmetric(1.0) < 0


def orient(images: torch.Tensor, draw: _Draws, how: str) -> torch.Tensor:
    """Flip and rotate by right angles, without interpolation; "any": all 8 symmetries of the square equally likely."""
    import torch

    if how == "none":
        return images
    images = torch.where(draw.coin(), images.flip(3), images)
    if how == "any":
        images = torch.where(draw.coin(), images.flip(2), images)
        if images.shape[2] == images.shape[3]:
            images = torch.where(draw.coin(), images.transpose(2, 3), images)
    return images


def rotate_and_zoom(images: torch.Tensor, degrees: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Rotate about the centre and zoom: bilinear interpolation, reflection padding."""
    import torch
    import torch.nn.functional as F

    angle, scale = degrees.flatten() * (math.pi / 180), scale.flatten()
    cos, sin, zero = torch.cos(angle) / scale, torch.sin(angle) / scale, torch.zeros_like(angle)
    aspect = images.shape[2] / images.shape[3]  # the grid spans [-1, 1] along both sides
    theta = torch.stack([cos, -sin * aspect, zero, sin / aspect, cos, zero], dim=1).view(-1, 2, 3)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def jitter_stain(images: torch.Tensor, factor: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
    """Scale and shift the densities of haematoxylin, eosin and residual: s' = factor · s + shift, each [B, 3, 1, 1].

    With optical density o = −ln(x) and o = s·M (M: ``HED``), o' = o·M⁻¹·diag(factor)·M + shift·M, which is one 3×3
    matrix and one offset for each image. The shift also colours the background (o = 0), as in the paper.
    """
    import torch

    stains = torch.tensor(HED, dtype=torch.float64)
    stains = stains / stains.norm(dim=1, keepdim=True)
    apart, overall = (m.to(images) for m in (torch.linalg.inv(stains), stains))
    matrix = torch.einsum("cs,bs,sd->bdc", apart, factor.flatten(1), overall)
    offset = shift.flatten(1) @ overall
    density = -torch.log(images.clamp_min(1 / 255))  # the density of black is infinite
    changed = torch.einsum("bdc,bchw->bdhw", matrix, density) + offset[:, :, None, None]
    return torch.exp(-changed).clamp(0, 1)


def jitter_colour(
    images: torch.Tensor, brightness: torch.Tensor, contrast: torch.Tensor, saturation: torch.Tensor
) -> torch.Tensor:
    """Change saturation (about grey), contrast (about the mean grey value), brightness (added); each [B, 1, 1, 1]."""
    luma = images.new_tensor(LUMA).view(1, 3, 1, 1)
    grey = (images * luma).sum(dim=1, keepdim=True)
    images = grey + saturation * (images - grey)
    mean = grey.mean(dim=(2, 3), keepdim=True)
    return mean + contrast * (images - mean) + brightness
