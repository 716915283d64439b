"""mixup: each image and its target are averaged with those of another image of the batch.

Zhang et al. 2018, "mixup: Beyond Empirical Risk Minimization": λ ~ Beta(α, α), x = λ xᵢ + (1 − λ) xⱼ, and the same for
the targets. As in torchvision, a batch has one λ, and j is the image before i in the shuffled batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from baselines.mixing import Mixing, MixingConfig


@dataclass(frozen=True)
class MixUpConfig(MixingConfig):
    """Distribution of the mixing weight."""

    alpha: float = 0.2


class MixUp(Mixing):
    """Averages pairs of images, and their targets."""

    Config: ClassVar[type] = MixUpConfig
    operation: ClassVar[str] = "MixUp"
