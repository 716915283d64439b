"""mixup: each image and its target are averaged with those of another image of the batch.

Zhang et al. 2018, "mixup: Beyond Empirical Risk Minimization": λ ~ Beta(α, α), x = λ xᵢ + (1 − λ) xⱼ, and the same for
the targets. As in torchvision, a batch has one λ, and j is the image before i in the shuffled batch.
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
class MixUpConfig:
    """Distribution of the mixing weight."""

    alpha: float = 0.2  # of Beta(alpha, alpha); small: images are hardly mixed; 1: weights are uniform

    def __post_init__(self) -> None:
        """Raise ``ConfigError`` unless alpha is positive."""
        if not self.alpha > 0:
            raise ConfigError(f"alpha: got {self.alpha}, expected more than 0")


class MixUp(OnlineMethod):
    """Mixes the images of a batch and their targets, which become soft."""

    Config: ClassVar[type] = MixUpConfig

    def __init__(self, config: MixUpConfig) -> None:
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
            mixed, soft = v2.MixUp(alpha=self.config.alpha)(images, targets)
        return mixed.clamp(0, 1), soft
