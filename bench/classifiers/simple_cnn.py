"""The SimpleCNN of MedSynGAN: convolution, ReLU, max-pooling, twice; flattened; two linear layers.

"PR Classification with MedSynGAN" (seraju77, 2025), 128×128 pixels; widths and kernels are not published. The source
trains it with Adam for 50 epochs; here it is trained like every other classifier (``FineTuneConfig``: AdamW with
warm-up and cosine decay, for steps), so that arms and classifiers are compared with one budget.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from bench.classifiers.config import FineTuneConfig, fine_tuning_space, require
from bench.errors import ConfigError
from bench.types import SearchRange

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class SimpleCNNConfig(FineTuneConfig):
    """Fine-tuning options; the network has no options."""

    learning_rate: float = 1e-3  # from scratch: Adam's default, as in the source
    weight_decay: float = 0.0
    pretrained: bool = False  # there are no pretrained weights

    def __post_init__(self) -> None:
        """Raise ``ConfigError`` for values that cannot be used for training."""
        super().__post_init__()
        require(not self.pretrained, self, "pretrained", "false: simple_cnn has no pretrained weights")


class SimpleCNN:
    """Two convolutions and two linear layers; see ``bench.classifiers.simple_cnn_network``."""

    version: ClassVar[int] = 1
    Config: ClassVar[type] = SimpleCNNConfig

    def __init__(self, config: SimpleCNNConfig) -> None:
        self.config = config

    def search_space(self) -> dict[str, SearchRange]:
        """Return the fine-tuning's settings."""
        return fine_tuning_space(self.config)

    def check(self) -> None:
        """Every config that could be constructed can be built."""

    def check_size(self, image_size_px: int) -> None:
        """Raise ``ConfigError`` for images that are too small for two poolings."""
        if image_size_px < 4:
            raise ConfigError(f"simple_cnn: got images of {image_size_px} px, expected 4 or more")

    def build(self, num_classes: int, image_size_px: int, weights: Path | None) -> torch.nn.Module:
        """Return the network: float [B, 3, S, S] in [0, 1] -> logits [B, num_classes]; S is ``image_size_px``.

        Initial weights come from torch's global generator, which the caller has seeded. Raises ``ConfigError`` for
        images that are too small for two poolings.
        """
        self.check_size(image_size_px)
        from bench.classifiers.simple_cnn_network import SimpleCNNNetwork

        return SimpleCNNNetwork(num_classes, image_size_px)
