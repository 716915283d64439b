"""How the segmentation network behind the FCN score is trained; importable without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bench.errors import ConfigError


@dataclass(frozen=True)
class SegmentationConfig:
    """Size and budget of the U-Net of the FCN score; one is trained per fold, for all methods.

    ``pseudo_masks`` says what to train on if a dataset has no masks: 'haematoxylin' uses thresholded haematoxylin
    (nuclei), 'off' nothing, so that there is no FCN score; 'auto' is haematoxylin if the dataset declares that stain,
    else off.
    """

    steps: int = 1000  # optimiser steps
    batch_size: int = 8  # images per step
    learning_rate: float = 2e-3  # initial; decreases to 0 as a half cosine
    filters: int = 16  # of the first convolutions; doubled at each halving of the image
    evaluate_every: int = 100  # steps between validations
    checkpoint_every: int = 200  # steps
    pseudo_masks: Literal["auto", "haematoxylin", "off"] = "auto"

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "filters", "evaluate_every", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise ConfigError(f"segmentation: {name} is {getattr(self, name)!r}, expected at least 1")
        if not self.learning_rate > 0:
            raise ConfigError(f"segmentation: learning_rate is {self.learning_rate!r}, expected more than 0")
