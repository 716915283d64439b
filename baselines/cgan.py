"""``cgan``: label-conditional GAN for images of any size that is a multiple of 8 pixels.

Mirza & Osindero 2014, "Conditional Generative Adversarial Nets". Changed against it: convolutional networks (Radford et
al. 2016, DCGAN); noise and label also modulate each layer (Chen et al. 2019, "On Self Modulation for Generative
Adversarial Networks"); projection discriminator (Miyato & Koyama 2018); hinge loss (Lim & Ye 2017, "Geometric GAN");
averaged generator weights with standing batch-norm statistics (Brock et al. 2019); labels drawn uniformly.

Options, off by default: resize convolutions in the generator (Odena et al. 2016), differentiable augmentation of the
discriminator's images (Zhao et al. 2020) or its adaptive form (Karras et al. 2020), self-attention (Zhang et al. 2019),
spectral norm in the discriminator (Miyato et al. 2018), progressive growing (Karras et al. 2018), FID and KID during
training. Data sets without colour are trained with one channel.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal, cast

from baselines.gan_model import LATE, TrainState
from baselines.hinge_gan import HingeGAN, HingeGANConfig
from bench.errors import ConfigError
from bench.seeding import derive_seed
from bench.types import Choice, FloatRange, IntRange, ProfiledStep, SearchRange

if TYPE_CHECKING:
    import torch
    from torch import nn

    from baselines.adaptive_augmentation import AdaptiveDiscriminator
    from baselines.cgan_progressive import ProgressiveDiscriminator, ProgressiveGenerator


@dataclass(frozen=True)
class ConditionalGANConfig(HingeGANConfig):
    """Training budget, network size, optimiser and options."""

    learning_rate: float = 4e-4  # Adam, generator
    discriminator_learning_rate: float = 4e-4  # Adam, discriminator
    upsample: Literal["transposed", "resize"] = field(default="transposed", metadata=LATE)  # in the generator
    self_attention: bool = field(default=False, metadata=LATE)  # in both networks, at the largest map up to 32 px
    spectral_norm: bool = field(default=False, metadata=LATE)  # in the discriminator, instead of its instance norm
    adaptive_augmentation: bool = field(
        default=False, metadata=LATE
    )  # of the discriminator's images, instead of diffaug
    ada_images: int = field(default=50_000, metadata=LATE)  # real images in which its probability can rise from 0 to 1
    progressive: bool = field(default=False, metadata=LATE)  # grow by doubling; each size gets an equal share of steps

    def __post_init__(self) -> None:
        """Raise ``ConfigError`` for values that cannot be trained with."""
        super().__post_init__()
        if self.upsample not in ("transposed", "resize"):
            raise ConfigError(f"upsample: got {self.upsample!r}, expected 'transposed' or 'resize'")
        if self.ada_images < 1:
            raise ConfigError(f"ada_images: got {self.ada_images}, expected at least 1")
        if self.adaptive_augmentation and (self.augmentations or self.progressive):
            other = "diffaug" if self.augmentations else "progressive"
            raise ConfigError(f"adaptive_augmentation: got true with {other}; use one of them")


class ConditionalGAN(HingeGAN):
    """Conditional GAN with self-modulation, projection discriminator, hinge loss and averaged weights."""

    Config: ClassVar[type] = ConditionalGANConfig
    name: ClassVar[str] = "cgan"
    config: ConditionalGANConfig

    def search_space(self) -> dict[str, SearchRange]:
        """Return the options that matter most: learning rates, momentum, averaging, noise, width and budget."""
        c = self.config
        return {
            "learning_rate": FloatRange(1e-4, 1e-3, log=True),
            "discriminator_learning_rate": FloatRange(1e-4, 1e-3, log=True),
            "beta1": Choice((0.0, 0.5)),
            "ema": Choice((0.99, 0.995, 0.999)),
            "z_dim": IntRange(16, 128, log=True),
            "filters": IntRange(max(1, c.filters // 2), 2 * c.filters, log=True),
            "steps": IntRange(max(1, c.steps // 2), 2 * c.steps, log=True),
        }

    def check_size(self, image_size_px: int) -> None:
        """Raise ``ConfigError`` unless three halvings and doublings give the size back."""
        if image_size_px % 8 or image_size_px < 16:
            raise ConfigError(f"cgan: got images of {image_size_px} px, expected a multiple of 8 from 16 on")

    def training_steps(self, image_size_px: int, batch_size: int, device: str) -> Mapping[str, ProfiledStep]:
        """Return the training step. Raises ``ConfigError`` for growing networks, whose step depends on their size."""
        if self.config.progressive:
            raise ConfigError("cgan: the step of growing networks changes with their size; set progressive to false")
        return super().training_steps(image_size_px, batch_size, device)

    def networks(self, num_classes: int, side_px: int) -> tuple[nn.Module, nn.Module]:
        """Return generator and discriminator. Raises ``ConfigError`` for a side that is no multiple of 8 from 16 on."""
        from baselines.cgan_networks import Discriminator, Generator
        from baselines.cgan_progressive import ProgressiveDiscriminator, ProgressiveGenerator

        self.check_size(side_px)
        from baselines.adaptive_augmentation import AdaptiveDiscriminator

        c = self.config
        G = ProgressiveGenerator if c.progressive else Generator
        D = ProgressiveDiscriminator if c.progressive else Discriminator
        generator = G(num_classes, side_px, c.z_dim, c.filters, c.self_attention, self.image_channels, c.upsample)
        discriminator = D(num_classes, side_px, c.filters, c.self_attention, c.spectral_norm, self.image_channels)
        adapts = c.adaptive_augmentation
        return generator, AdaptiveDiscriminator(discriminator, c.ada_images) if adapts else discriminator

    @property
    def augments(self) -> bool:
        """Whether the discriminator's images are transformed."""
        return super().augments or self.config.adaptive_augmentation

    def discriminator_loss(
        self, D: nn.Module, real: torch.Tensor, real_labels: torch.Tensor, fake: torch.Tensor, fake_labels: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the loss and the scores of ``HingeGAN``; adaptive augmentation takes the scores into account."""
        loss, real_score, fake_score = super().discriminator_loss(D, real, real_labels, fake, fake_labels)
        if self.config.adaptive_augmentation:
            cast("AdaptiveDiscriminator", D).adapt(real_score)
        return loss, real_score, fake_score

    def logged(self, state: TrainState) -> dict[str, float]:
        """Return the probability of adaptive augmentation."""
        if not self.config.adaptive_augmentation:
            return {}
        return {"augmentation/p": float(cast("AdaptiveDiscriminator", state.D).p)}

    def seed(self, purpose: str, *parts: object) -> int:
        """Return the seed of one random choice, by the names that the first version gave them."""
        return derive_seed({"standing statistics": "cgan calibration"}.get(purpose, f"cgan {purpose}"), *parts)

    def grow(self, state: TrainState, real: torch.Tensor, step: int) -> torch.Tensor:
        """Bring progressive networks and real images to the size of a step, which depends on its number only."""
        if not self.config.progressive:
            return real
        from baselines.cgan_progressive import at_growth, growth

        levels = cast("ProgressiveGenerator", state.G).levels
        at = growth(step, self.config.steps, levels)
        for network in (state.G, state.D, state.G_mean):
            cast("ProgressiveGenerator | ProgressiveDiscriminator", network).grow(at.level, at.alpha)
        return at_growth(real, at, levels)

    def decay(self, state: TrainState, step: int) -> float:
        """Return the decay of the averaged generator: lower while its newest layers have seen few steps."""
        age = step
        if self.config.progressive:
            from baselines.cgan_progressive import growth

            age -= growth(step, self.config.steps, cast("ProgressiveGenerator", state.G).levels).start
        return min(self.config.ema, (1 + age) / (10 + age))
