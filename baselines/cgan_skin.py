"""The conditional GAN for skin lesions, to the letter: 64×64 pixels, labels in both networks, binary cross entropy.

Uddin, "Conditional GAN for Skin Cancer Image Generation" (cGAN-for-Medical-Images, 2025; nine classes of ISIC), after
Mirza & Osindero 2014, "Conditional Generative Adversarial Nets". Its 100,000 "epochs" of batch 16 took 8 h 45 min on
a P100, 0.3 s each: they are steps. What the source leaves open is listed in ``cgan_skin_networks``; of Adam, ε is
PyTorch's 1e-8, Keras' would be 1e-7. ``cgan`` is our own, with what its authors wished for as options.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from baselines.label_gan import LabelGAN, LabelGANConfig

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class SkinGANConfig(LabelGANConfig):
    """As published: 100,000 steps of 16 images, 100 noise numbers, Adam at 2e-4 with β1 = 0.5."""

    steps: int = 100_000  # one update of each network a step


class SkinGAN(LabelGAN):
    """Networks of ``baselines.cgan_skin_networks``, trained as ``baselines.label_gan`` says."""

    Config: ClassVar[type] = SkinGANConfig
    name: ClassVar[str] = "cgan_skin"
    side_px: ClassVar[int] = 64

    def networks(self, num_classes: int) -> tuple[nn.Module, nn.Module]:
        """Return generator and discriminator."""
        from baselines.cgan_skin_networks import Discriminator, Generator

        return Generator(num_classes, self.config.z_dim), Discriminator(num_classes)
