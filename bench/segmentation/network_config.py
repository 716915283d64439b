"""Config of the segmentation networks that are compared under augmentation; importable without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bench.errors import ConfigError

SQUEEZE = 16  # channels to one, in the attention blocks of segmentation-models-pytorch


@dataclass(frozen=True)
class SegmentationNetworkConfig:
    """A U-Net of segmentation-models-pytorch: its parts, and its budget, the same for every arm.

    An encoder of plain convolutions (vgg11_bn) gives a U-Net, one of residual blocks (resnet34) a residual U-Net; with
    ``attention`` 'scse' every decoder block recalibrates its channels and pixels. ``encoder_weights`` 'local' loads the
    encoder's weights from the suite's `weights`; nothing is downloaded.
    """

    encoder: str = "vgg11_bn"  # name in segmentation-models-pytorch; 'tu-<name>' is timm's
    attention: Literal["none", "scse"] = "none"
    decoder_filters: tuple[int, ...] = (
        256,
        128,
        64,
        32,
        16,
    )  # from the coarsest on; one for each downsampling of the image
    encoder_weights: Literal["none", "local"] = "none"
    steps: int = 2000  # optimiser steps
    batch_size: int = 16  # images per step
    learning_rate: float = 1e-3  # initial; decreases to 0 as a half cosine
    evaluate_every: int = 100  # steps between validations
    checkpoint_every: int = 500  # steps

    def __post_init__(self) -> None:
        """Raise ``ConfigError`` for values that cannot be used for training."""
        for name in ("steps", "batch_size", "evaluate_every", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)!r}, expected at least 1")
        if not self.learning_rate > 0:
            raise ConfigError(f"learning_rate is {self.learning_rate!r}, expected more than 0")
        if not 3 <= len(self.decoder_filters) <= 5 or min(self.decoder_filters) < 1:
            raise ConfigError(f"decoder_filters are {self.decoder_filters!r}, expected 3 to 5 numbers of at least 1")
        if self.attention == "scse" and min(self.decoder_filters) < SQUEEZE:
            raise ConfigError(
                f"decoder_filters are {self.decoder_filters!r}, expected at least {SQUEEZE} each with attention scse, "
                f"which squeezes them {SQUEEZE} to 1"
            )

    def check_size(self, image_size_px: int) -> None:
        """Raise ``ConfigError`` unless images of this side can be halved once per decoder block."""
        halvings = len(self.decoder_filters)
        if image_size_px % 2**halvings:
            raise ConfigError(
                f"{halvings} decoder_filters halve the image {halvings} times: image_size_px {image_size_px} is no "
                f"multiple of {2**halvings}"
            )
        if image_size_px == 2**halvings and self.batch_size == 1:
            raise ConfigError(
                f"{halvings} decoder_filters leave one pixel of an image of {image_size_px} px, which batch norms "
                "cannot train on with batch_size 1; take a larger image, fewer decoder_filters, or batch_size 2"
            )
