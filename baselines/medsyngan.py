"""MedSynGAN, to the letter: 128×128 pixels, made for PR+ and PR− immunohistochemistry, binary cross entropy.

"PR Classification with MedSynGAN: Enhancing Model Performance via Synthetic Histopathology" (seraju77, 2025), after
Mirza & Osindero 2014, "Conditional Generative Adversarial Nets". Of its optimiser the source says "Adam (lr=0.0002)":
the rest is the framework's default, β1 = 0.9, where most GANs take 0.5. How long it was trained was not published.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from baselines.label_gan import LabelGAN, LabelGANConfig

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class MedSynGANConfig(LabelGANConfig):
    """As published: 100 noise numbers, Adam at 2e-4. Steps and batch size are ours."""

    beta1: float = 0.9  # Adam's default


class MedSynGAN(LabelGAN):
    """Networks of ``baselines.medsyngan_networks``, trained as ``baselines.label_gan`` says."""

    Config: ClassVar[type] = MedSynGANConfig
    name: ClassVar[str] = "medsyngan"
    side_px: ClassVar[int] = 128

    def networks(self, num_classes: int) -> tuple[nn.Module, nn.Module]:
        """Return generator and discriminator."""
        from baselines.medsyngan_networks import Discriminator, Generator

        return Generator(num_classes, self.config.z_dim), Discriminator(num_classes)
