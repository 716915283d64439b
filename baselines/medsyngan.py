"""``medsyngan``: MedSynGAN as published, for PR+ and PR− immunohistochemistry: 128×128 pixels, binary cross entropy.

"PR Classification with MedSynGAN: Enhancing Model Performance via Synthetic Histopathology" (seraju77, 2025), after
Mirza & Osindero 2014, "Conditional Generative Adversarial Nets". The source gives its optimiser as "Adam (lr=0.0002)":
β1 is then the framework's default, 0.9, where most GANs take 0.5. Steps and batch size are not published; those here
are ours. ``medsyngan_networks`` lists what else the source leaves open.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from baselines.gan_model import GANConfig
from baselines.label_gan import LabelGAN

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class MedSynGANConfig(GANConfig):
    """As published: 100 noise values, Adam at 2e-4. Steps and batch size are ours."""

    beta1: float = 0.9  # Adam's default
    log_every: int = 10  # steps


class MedSynGAN(LabelGAN):
    """Networks of ``baselines.medsyngan_networks`` with the losses of ``baselines.gan_model``."""

    Config: ClassVar[type] = MedSynGANConfig
    name: ClassVar[str] = "medsyngan"
    side_px: ClassVar[int] = 128

    def networks(self, num_classes: int, side_px: int) -> tuple[nn.Module, nn.Module]:
        """Return generator and discriminator; ``side_px`` is 128."""
        from baselines.medsyngan_networks import Discriminator, Generator

        return Generator(num_classes, self.config.z_dim), Discriminator(num_classes)
