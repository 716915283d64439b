"""CutMix: a rectangle of each image is replaced by that of another image of the batch, and the targets are averaged.

Yun et al. 2019, "CutMix: Regularization Strategy to Train Strong Classifiers with Localizable Features": the rectangle
has the share 1 − λ of the image, λ ~ Beta(α, α), and is cut off at the border; the target has the weight of the visible
share. As in torchvision, a batch has one rectangle, and the other image is the one before in the shuffled batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from baselines.online_method import OnlineMethod, seeded_from
from bench.errors import ConfigError
from bench.types import FloatRange, SearchRange

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class CutMixConfig:
    """Distribution of the mixing weight."""

    alpha: float = 1.0  # of Beta(alpha, alpha); small: images are hardly mixed; 1: weights are uniform

    def __post_init__(self) -> None:
        """Raise ``ConfigError`` unless alpha is positive."""
        if not self.alpha > 0:
            raise ConfigError(f"alpha: got {self.alpha}, expected more than 0")


class CutMix(OnlineMethod):
    """Mixes the images of a batch and their targets, which become soft."""

    Config: ClassVar[type] = CutMixConfig

    def __init__(self, config: CutMixConfig) -> None:
        self.config = config

    def search_space(self) -> dict[str, SearchRange]:
        """Return the range of the only setting."""
        return {"alpha": FloatRange(0.05, 2.0, log=True)}

    def transform(
        self, images: torch.Tensor, targets: torch.Tensor, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return mixed images float [B, 3, H, W] in [0, 1] and targets float [B, C] whose rows sum to 1."""
        from torchvision.transforms import v2

        with seeded_from(generator):
            mixed, soft = v2.CutMix(alpha=self.config.alpha)(images, targets)
        return mixed.clamp(0, 1), soft
