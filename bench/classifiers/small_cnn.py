"""A small convolutional network, trained from scratch: the baseline that needs neither weights nor a GPU.

Based on the SimpleCNN of MedSynGAN (convolution, ReLU, max-pooling; then linear layers), with batch normalisation
(Ioffe & Szegedy 2015) and global average pooling (Lin et al. 2014, "Network in Network") instead of the flattening, so
that any image size works and a wide linear layer does not overfit on few images.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from bench.classifiers.config import FineTuneConfig, fine_tuning_space, require
from bench.errors import ConfigError
from bench.types import FloatRange, SearchRange

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class SmallCNNConfig(FineTuneConfig):
    """Fine-tuning options, and the network's width."""

    learning_rate: float = 1e-3  # from scratch: higher than for fine-tuning
    pretrained: bool = False  # there are no pretrained weights
    width: int = 16  # channels of the first block; each of the next three doubles them
    dropout: float = 0.1  # before the last layer
    normalisation: Literal["fixed", "training"] = "fixed"  # 2x - 1, or mean and sd of the fold's real training images

    def __post_init__(self) -> None:
        """Raise ``ConfigError`` for values that cannot be used for training."""
        super().__post_init__()
        require(self.width >= 1, self, "width", "at least 1")
        require(0 <= self.dropout < 1, self, "dropout", "in [0, 1)")
        require(self.normalisation in ("fixed", "training"), self, "normalisation", "'fixed' or 'training'")
        require(not self.pretrained, self, "pretrained", "false: small_cnn has no pretrained weights")


class SmallCNN:
    """Four blocks of convolution, batch norm, ReLU and pooling; see ``bench.classifiers.small_cnn_network``."""

    version: ClassVar[int] = 1
    Config: ClassVar[type] = SmallCNNConfig

    def __init__(self, config: SmallCNNConfig) -> None:
        self.config = config

    def search_space(self) -> dict[str, SearchRange]:
        """Return the fine-tuning's settings and the dropout."""
        return {**fine_tuning_space(self.config), "dropout": FloatRange(0.0, 0.5)}

    def check(self) -> None:
        """Every config that could be constructed can be built."""

    def check_size(self, image_size_px: int) -> None:
        """Raise ``ConfigError`` for images that are too small for four poolings."""
        if image_size_px < 16:
            raise ConfigError(f"small_cnn: got images of {image_size_px} px, expected 16 or more")

    def build(self, num_classes: int, image_size_px: int, weights: Path | None) -> torch.nn.Module:
        """Return the network: float [B, 3, H, W] in [0, 1] -> logits [B, num_classes]; any H, W of 16 and more.

        Initial weights come from torch's global generator, which the caller has seeded. Raises ``ConfigError`` for
        images that are too small for four poolings.
        """
        self.check_size(image_size_px)
        from bench.classifiers.small_cnn_network import SmallCNNNetwork

        return SmallCNNNetwork(num_classes, self.config.width, self.config.dropout)
