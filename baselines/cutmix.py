"""CutMix: a rectangle of each image is replaced by that of another image of the batch, and the targets are averaged.

Yun et al. 2019, "CutMix: Regularization Strategy to Train Strong Classifiers with Localizable Features": the rectangle
has the share 1 − λ of the image, λ ~ Beta(α, α), and is cut off at the border; the target has the weight of the visible
share. As in torchvision, a batch has one rectangle, and the other image is the one before in the shuffled batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from baselines.mixing import Mixing, MixingConfig


@dataclass(frozen=True)
class CutMixConfig(MixingConfig):
    """Distribution of the mixing weight."""

    alpha: float = 1.0


class CutMix(Mixing):
    """Replaces a rectangle of each image, and mixes the targets by its share."""

    Config: ClassVar[type] = CutMixConfig
    operation: ClassVar[str] = "CutMix"
