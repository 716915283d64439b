"""RandAugment: a number of random operations of one common strength on each image.

Cubuk et al. 2020, "RandAugment: Practical automated data augmentation with a reduced search space". Changed against it:
bilinear interpolation, and the limits of ``baselines.policy`` for chests and ultrasound.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from baselines.policy import GEOMETRIES, Policy, PolicyConfig
from bench.errors import ConfigError
from bench.types import Choice, IntRange, SearchRange

STRENGTHS = 31


@dataclass(frozen=True)
class RandAugmentConfig(PolicyConfig):
    """The two settings of the paper, N and M."""

    operations: int = 2  # per image, drawn with replacement
    magnitude: int = 9  # strength of all operations, from 0 to 30

    def __post_init__(self) -> None:
        """Raise ``ConfigError`` for values out of range."""
        super().__post_init__()
        if self.operations < 1:
            raise ConfigError(f"operations: got {self.operations}, expected at least 1")
        if not 0 <= self.magnitude < STRENGTHS:
            raise ConfigError(f"magnitude: got {self.magnitude}, expected 0 to {STRENGTHS - 1}")


class RandAugment(Policy):
    """``operations`` operations of 14 with strength ``magnitude``, drawn for every image at every step."""

    Config: ClassVar[type] = RandAugmentConfig

    def search_space(self) -> dict[str, SearchRange]:
        """Return the ranges of the paper, and the choice of the geometry."""
        return {"operations": IntRange(1, 3), "magnitude": IntRange(2, 20), "geometry": Choice(GEOMETRIES)}

    def operations(self) -> Any:
        """Return torchvision's transform of one image uint8 [3, H, W]."""
        from torchvision.transforms import v2

        return v2.RandAugment(
            self.config.operations, self.config.magnitude, STRENGTHS, interpolation=v2.InterpolationMode.BILINEAR
        )
