"""``cgan_skin``: conditional GAN for skin lesions as published: 64×64 pixels, binary cross entropy.

Uddin, "Conditional GAN for Skin Cancer Image Generation" (cGAN-for-Medical-Images, 2025; nine classes of ISIC), after
Mirza & Osindero 2014, "Conditional Generative Adversarial Nets". Its 100,000 "epochs" of 16 images took 8 h 45 min on
a P100, 0.3 s each, so they are taken as steps. Changed against it: Adam's ε is PyTorch's 1e-8 (Keras: 1e-7), and the
batch-norm statistics are measured after training. ``cgan_skin_networks`` lists what the source leaves open.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from baselines.gan_model import GANConfig
from baselines.label_gan import LabelGAN

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class SkinGANConfig(GANConfig):
    """As published: 100,000 steps of 16 images, 100 noise values, Adam at 2e-4 with β1 = 0.5."""

    steps: int = 100_000  # one update of each network per step
    log_every: int = 10  # steps


class SkinGAN(LabelGAN):
    """Networks of ``baselines.cgan_skin_networks`` with the losses of ``baselines.gan_model``."""

    Config: ClassVar[type] = SkinGANConfig
    name: ClassVar[str] = "cgan_skin"
    side_px: ClassVar[int] = 64

    def networks(self, num_classes: int, side_px: int) -> tuple[nn.Module, nn.Module]:
        """Return generator and discriminator; ``side_px`` is 64."""
        from baselines.cgan_skin_networks import Discriminator, Generator

        return Generator(num_classes, self.config.z_dim), Discriminator(num_classes)
