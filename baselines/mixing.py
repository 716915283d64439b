"""What ``mixup`` and ``cutmix`` share: torchvision mixes the images of a batch and their targets. Not a method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from baselines.online_method import OnlineMethod, seeded_from
from bench.errors import ConfigError
from bench.types import FloatRange, SearchRange

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class MixingConfig:
    """Distribution of the mixing weight."""

    alpha: float = 1.0  # of Beta(alpha, alpha); small: images are hardly mixed; 1: weights are uniform

    def __post_init__(self) -> None:
        """Raise ``ConfigError`` unless alpha is positive."""
        if not self.alpha > 0:
            raise ConfigError(f"alpha: got {self.alpha}, expected more than 0")


class Mixing(OnlineMethod):
    """Mixes the images of a batch and their targets, which become soft, by torchvision's transform ``operation``."""

    operation: ClassVar[str]

    def __init__(self, config: MixingConfig) -> None:
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
            mixed, soft = getattr(v2, self.operation)(alpha=self.config.alpha)(images, targets)
        return mixed.clamp(0, 1), soft
