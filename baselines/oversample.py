"""Random oversampling: images are drawn with weights inverse to class frequency, so all classes are equally frequent.

Buda, Maki & Mazurowski 2018, "A systematic study of the class imbalance problem in convolutional neural networks".
Changed against it: images are drawn at random for each batch instead of being copied until the classes are equal.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class OversampleConfig:
    """No options."""


class Oversample:
    """Draws a class uniformly, then one of its images uniformly, with replacement; images are unchanged."""

    kind: ClassVar[Literal["online"]] = "online"
    version: ClassVar[int] = 1
    Config: ClassVar[type] = OversampleConfig

    def __init__(self, config: OversampleConfig) -> None:
        self.config = config

    def sampling_weights(self, labels: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Return 1 / (number of images with the same label), float64 [N]."""
        return 1.0 / np.bincount(labels)[labels]

    def transform(
        self, images: torch.Tensor, targets: torch.Tensor, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the batch unchanged."""
        return images, targets
