"""No augmentation: the real images, unchanged. The reference arm of every comparison."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class NoAugmentationConfig:
    """No options."""


class NoAugmentation:
    """Trains on the real images, unchanged, in uniformly shuffled order."""

    kind: ClassVar[Literal["online"]] = "online"
    version: ClassVar[int] = 1
    Config: ClassVar[type] = NoAugmentationConfig

    def __init__(self, config: NoAugmentationConfig) -> None:
        self.config = config

    def sampling_weights(self, labels: npt.NDArray[np.int64]) -> npt.NDArray[np.float64] | None:
        """Return None: every image has the same weight."""
        return None

    def transform(
        self, images: torch.Tensor, targets: torch.Tensor, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the batch unchanged."""
        return images, targets

    def transform_with_masks(
        self, images: torch.Tensor, masks: torch.Tensor, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the batch unchanged."""
        return images, masks
