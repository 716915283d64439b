"""Policies of random operations, one image at a time: common code of ``trivialaugment`` and ``randaugment``.

Operations and strengths are torchvision's. Changed against it: with ``geometry: limited``, rotations are at most 15°,
shears at most 0.1, and shifts at most a tenth of the side. The strengths of the papers turn images by up to 135°, but a
chest upside down does not occur, and ultrasound has its probe on top.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from baselines.online_method import OnlineMethod, seeded_from
from bench.errors import ConfigError

if TYPE_CHECKING:
    import torch

Magnitudes = Callable[[int, int, int], "torch.Tensor"]  # (number of strengths, height, width) -> float [number]
GEOMETRIES = ("any", "limited")
ROTATE_DEG, SHEAR, SHIFT = 15.0, 0.1, 0.1  # limits; shift as a share of the side


@dataclass(frozen=True)
class PolicyConfig:
    """Strength of the geometric operations."""

    geometry: Literal["any", "limited"] = "any"  # any: as published; limited: small rotations, shears and shifts

    def __post_init__(self) -> None:
        """Raise ``ConfigError`` for an unknown geometry."""
        if self.geometry not in GEOMETRIES:
            raise ConfigError(f"geometry: got {self.geometry!r}, expected 'any' or 'limited'")


class Policy(OnlineMethod):
    """Applies a torchvision policy to each image; a subclass defines it by ``operations``."""

    Config: ClassVar[type] = PolicyConfig
    by_modality: ClassVar[dict[str, dict[str, object]]] = {
        "chest": {"geometry": "limited"},
        "ultrasound": {"geometry": "limited"},
    }

    def __init__(self, config: Any) -> None:
        self.config = config

    def operations(self) -> Any:
        """Return torchvision's transform of one image uint8 [3, H, W]."""
        raise NotImplementedError

    def transform(
        self, images: torch.Tensor, targets: torch.Tensor, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return transformed images float [B, 3, H, W] in [0, 1], in steps of 1/255, and the same targets."""
        import torch

        policy = self.operations()
        if self.config.geometry == "limited":
            policy._AUGMENTATION_SPACE = limited(policy._AUGMENTATION_SPACE)
        pixels = (images * 255).round().to(torch.uint8)
        with seeded_from(generator):
            changed = torch.stack([policy(image) for image in pixels])
        return changed.to(images.dtype) / 255, targets


def limited(space: dict[str, tuple[Magnitudes, bool]]) -> dict[str, tuple[Magnitudes, bool]]:
    """Return torchvision's table of operations, name -> (strengths, whether signed), with limited geometry."""
    scale: dict[str, Callable[[int, int], float]] = {
        "Rotate": lambda height, width: ROTATE_DEG,
        "ShearX": lambda height, width: SHEAR,
        "ShearY": lambda height, width: SHEAR,
        "TranslateX": lambda height, width: SHIFT * width,
        "TranslateY": lambda height, width: SHIFT * height,
    }
    return {**space, **{name: (partial(_up_to, most), True) for name, most in scale.items()}}


def _up_to(most: Callable[[int, int], float], bins: int, height: int, width: int) -> torch.Tensor:
    import torch

    return torch.linspace(0.0, most(height, width), bins)
