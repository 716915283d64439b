"""What ``cgan`` and ``projected_gan`` share: hinge loss, uniform labels, averaged weights, grey images, augmentation.

Lim & Ye 2017, "Geometric GAN" (hinge loss); Zhao et al. 2020 (differentiable augmentation); Brock et al. 2019 (averaged
generator weights). Not a method of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from baselines.gan_model import LATE, Batch, GANConfig, TrainingImages, TrainState
from baselines.label_gan import LabelGAN
from bench.errors import ConfigError

if TYPE_CHECKING:
    import torch
    from torch import nn

AUGMENTATIONS = ("color", "translation", "cutout")


@dataclass(frozen=True)
class HingeGANConfig(GANConfig):
    """Training budget, network size, optimiser and augmentation."""

    steps: int = 4000  # one update of each network per step
    z_dim: int = 64  # length of the noise vector
    filters: int = 32  # channels next to the image; they double towards the smallest feature map, up to 8 times
    discriminator_learning_rate: float = 2e-4  # Adam, discriminator
    ema: float = 0.999  # decay of the averaged generator; lower during the first steps
    checkpoint_every: int = 250  # steps
    channels: Literal["auto", 1, 3] = "auto"  # of the images; 'auto': 1 if the data set has no colour, else 3
    diffaug: str = field(default="", metadata=LATE)  # color,translation,cutout: images of the discriminator; '': off

    def __post_init__(self) -> None:
        """Raise ``ConfigError`` for values that cannot be trained with."""
        super().__post_init__()
        if not set(self.augmentations) <= set(AUGMENTATIONS):
            expected = f"some of {', '.join(AUGMENTATIONS)}, separated by commas"
            raise ConfigError(f"diffaug: got {self.diffaug!r}, expected {expected}")

    @property
    def augmentations(self) -> tuple[str, ...]:
        """The names in ``diffaug``."""
        return tuple(name.strip() for name in self.diffaug.split(",") if name.strip())


class HingeGAN(LabelGAN):
    """Label-conditional GAN with hinge loss, labels drawn uniformly and an averaged generator."""

    averages: ClassVar[bool] = True
    channels_last: ClassVar[bool] = True
    config: HingeGANConfig

    @property
    def image_channels(self) -> int:
        """Channels of the images; 3 for 'auto', until ``for_images`` has replaced it."""
        return 3 if self.config.channels == "auto" else self.config.channels

    def for_images(self, grey: bool) -> Self:
        """Return the method with the number of channels for images with or without colour."""
        if self.config.channels != "auto":
            return self
        return type(self)(replace(self.config, channels=1 if grey else 3))

    @property
    def augments(self) -> bool:
        """Whether the discriminator's images are transformed."""
        return bool(self.config.augmentations)

    def learning_rates(self) -> tuple[float, float]:
        """Return Adam's learning rates for generator and discriminator."""
        return self.config.learning_rate, self.config.discriminator_learning_rate

    def batch(self, images: TrainingImages, draw: torch.Generator, seed: int, step: int) -> Batch:
        """Return labels drawn uniformly and a random image of each: rare classes are trained as often as others."""
        import torch

        if self.augments:  # draws from the global generators: a resumed run must draw the same
            torch.manual_seed(self.seed("augment", seed, step))
        size, by_class = self.config.batch_size, images.by_class
        labels = torch.randint(len(by_class), (size,), generator=draw)
        u = torch.rand(size, generator=draw, dtype=torch.float64)
        chosen = [by_class[int(c)][int(v * len(by_class[int(c)]))] for c, v in zip(labels, u, strict=True)]
        z = torch.randn(size, self.config.z_dim, generator=draw)
        return Batch(torch.stack(chosen), labels, z, labels)

    def discriminator_loss(
        self, D: nn.Module, real: torch.Tensor, real_labels: torch.Tensor, fake: torch.Tensor, fake_labels: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the hinge loss, max(0, 1 − D(x, y)) + max(0, 1 + D(G(z, y), y)), and the scores of both.

        Scores are float [B], or [B, K] for K places and scales, over which the loss is a mean.
        """
        import torch
        import torch.nn.functional as F

        scores = D(self._augment(torch.cat([real, fake])), torch.cat([real_labels, fake_labels]))
        real_score, fake_score = scores.chunk(2)
        return (F.relu(1 - real_score) + F.relu(1 + fake_score)).mean(), real_score, fake_score

    def generator_loss(self, D: nn.Module, fake: torch.Tensor, fake_labels: torch.Tensor) -> torch.Tensor:
        """Return −D(G(z, y), y), a mean."""
        return -D(self._augment(fake), fake_labels).mean()

    def _augment(self, images: torch.Tensor) -> torch.Tensor:
        from tlsgan.diffaug import DiffAugment

        return DiffAugment(self.config.augmentations)(images)

    def decay(self, state: TrainState, step: int) -> float:
        """Return the decay of the averaged generator: lower during the first steps."""
        return min(self.config.ema, (1 + step) / (10 + step))
