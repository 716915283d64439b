"""What a label-conditional GAN defines for itself: its options, networks, losses, batches and averaged generator.

The defaults are those of Mirza & Osindero 2014, "Conditional Generative Adversarial Nets": binary cross entropy, with
the non-saturating generator loss of Goodfellow et al. 2014, "Generative Adversarial Nets", section 3. Changed against
them: Adam instead of SGD with momentum, and the networks, which each method defines. ``baselines.gan_loop`` trains.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from bench.errors import ConfigError
from bench.seeding import derive_seed

if TYPE_CHECKING:
    import torch
    from torch import nn

LATE = {"late": True}  # metadata of a field that was added later: at its default it does not change a cell's key


@dataclass(frozen=True)
class GANConfig:
    """Training budget and optimiser."""

    steps: int = 10_000  # one update of each network per step
    batch_size: int = 16  # real images per step, and as many generated ones
    z_dim: int = 100  # length of the noise vector
    learning_rate: float = 2e-4  # Adam, generator
    beta1: float = 0.5  # Adam
    beta2: float = 0.999  # Adam
    sample_every: int = 500  # steps between sample grids
    checkpoint_every: int = 500  # steps
    fid_every: int = field(default=0, metadata=LATE)  # steps between FID and KID against training images; 0: never

    def __post_init__(self) -> None:
        """Raise ``ConfigError`` for values that cannot be trained with."""
        least = dict.fromkeys(("steps", "z_dim", "filters", "log_every", "sample_every", "checkpoint_every"), 1)
        for name, low in {**least, "batch_size": 2, "fid_every": 0}.items():
            if getattr(self, name, low) < low:
                raise ConfigError(f"{name}: got {getattr(self, name)}, expected at least {low}")
        for name in ("learning_rate", "discriminator_learning_rate"):
            if not getattr(self, name, 1) > 0:
                raise ConfigError(f"{name}: got {getattr(self, name)}, expected more than 0")
        for name in ("beta1", "beta2", "ema"):
            if not 0 <= getattr(self, name, 0) < 1:
                raise ConfigError(f"{name}: got {getattr(self, name)}, expected in [0, 1)")


@dataclass
class TrainState:
    """Networks and optimisers: what a checkpoint holds, apart from the number of finished steps."""

    G: nn.Module
    D: nn.Module
    G_mean: nn.Module | None  # running average of G; None where the method does not average
    optimizer_G: torch.optim.Optimizer  # noqa: N815 (the names in checkpoints)
    optimizer_D: torch.optim.Optimizer  # noqa: N815

    @property
    def sampled(self) -> nn.Module:
        """The generator that images are made with: the averaged one if there is one."""
        return self.G if self.G_mean is None else self.G_mean


class TrainingImages(NamedTuple):
    """The training images of a fold."""

    pixels: torch.Tensor  # uint8 [N, S, S, C], on the device
    labels: torch.Tensor  # int64 [N], on the CPU
    by_class: list[torch.Tensor]  # for each class the positions of its images, int64, on the CPU
    unlabelled: torch.Tensor | None = None  # positions of images without labels, whose label is the number of classes


class Batch(NamedTuple):
    """What a step trains on, all on the CPU."""

    chosen: torch.Tensor  # positions of the real images, int64 [B]
    real_labels: torch.Tensor  # int64 [B]
    z: torch.Tensor  # noise, float [B, z_dim]
    fake_labels: torch.Tensor  # labels of the images to generate, int64 [B]


class GANModel(ABC):
    """A label-conditional GAN as the training loop sees it. Every method but ``networks`` has a default."""

    name: ClassVar[str]
    side_px: ClassVar[int | None] = None  # side of its images; None: the suite's
    averages: ClassVar[bool] = False  # whether images are made with a running average of the generator's weights
    channels_last: ClassVar[bool] = False  # memory format of both networks
    fused_adam: ClassVar[bool] = False  # whether Adam updates all weights in one call; other rounding

    def __init__(self, config: GANConfig) -> None:
        self.config = config

    @property
    def image_channels(self) -> int:
        """Channels of the images that the networks take and give."""
        return 3

    def for_images(self, grey: bool) -> GANModel:
        """Return the method for images with or without colour; only methods with an option for it change."""
        return self

    @abstractmethod
    def networks(self, num_classes: int, side_px: int) -> tuple[nn.Module, nn.Module]:
        """Return generator and discriminator, initialised from torch's global generator.

        The generator maps noise float [B, z_dim] and labels int64 [B] to images float [B, C, S, S] in [-1, 1], C being
        ``image_channels``; the discriminator maps images and labels to float [B], for ``discriminator_loss`` and
        ``generator_loss``.
        """

    def generator(self, num_classes: int, side_px: int) -> nn.Module:
        """Return the generator of ``networks``; a method whose discriminator is expensive to build replaces it."""
        return self.networks(num_classes, side_px)[0]

    def load_pretrained(self, D: nn.Module, weights: Path | None) -> dict[str, str] | None:
        """Load pretrained weights, for methods that use them, into the discriminator; return their source or None.

        ``weights`` is the file or folder of the suite. Raises ``WeightsError`` if they are not available.
        """
        return None

    def learning_rates(self) -> tuple[float, float]:
        """Return Adam's learning rates for generator and discriminator."""
        return self.config.learning_rate, self.config.learning_rate

    def seed(self, purpose: str, *parts: object) -> int:
        """Return the seed of one random choice, such as ``seed("step", ctx.seed, step)``."""
        return derive_seed(self.name, purpose, *parts)

    def batch(self, images: TrainingImages, draw: torch.Generator, seed: int, step: int) -> Batch:
        """Return a step's batch: real images epoch after epoch, labels of generated images drawn uniformly."""
        import torch

        chosen = epoch_positions(len(images.labels), self.config.batch_size, seed, step)
        z = torch.randn(self.config.batch_size, self.config.z_dim, generator=draw)
        fake_labels = torch.randint(len(images.by_class), (self.config.batch_size,), generator=draw)
        return Batch(chosen, images.labels[chosen], z, fake_labels)

    def grow(self, state: TrainState, real: torch.Tensor, step: int) -> torch.Tensor:
        """Prepare networks that grow for a step; return the real images float [B, 3, S, S] at their present size."""
        return real

    def discriminator_loss(
        self, D: nn.Module, real: torch.Tensor, real_labels: torch.Tensor, fake: torch.Tensor, fake_labels: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the loss and the scores float [B] of real and generated images that are logged.

        loss = (BCE(D(x, y), 1) + BCE(D(G(z, y'), y'), 0)) / 2; the scores are probabilities of being real.
        """
        real_logits, fake_logits = D(real, real_labels), D(fake, fake_labels)
        loss = (_cross_entropy(real_logits, 1.0) + _cross_entropy(fake_logits, 0.0)) / 2
        return loss, real_logits.sigmoid(), fake_logits.sigmoid()

    def generator_loss(self, D: nn.Module, fake: torch.Tensor, fake_labels: torch.Tensor) -> torch.Tensor:
        """Return BCE(D(G(z, y'), y'), 1)."""
        return _cross_entropy(D(fake, fake_labels), 1.0)

    def logged(self, state: TrainState) -> dict[str, float]:
        """Return what is logged beside the losses, by name."""
        return {}

    def decay(self, state: TrainState, step: int) -> float:
        """Return the decay of the averaged generator at a step; 0: the average is the generator itself."""
        return 0.0


def epoch_positions(images: int, batch_size: int, seed: int, step: int) -> torch.Tensor:
    """Return the positions int64 [B] of a step's real images: epoch after epoch, each in its own random order."""
    import torch

    first = step * batch_size
    epochs = range(first // images, (first + batch_size - 1) // images + 1)
    orders = [
        torch.randperm(images, generator=torch.Generator().manual_seed(derive_seed("label gan epoch", seed, epoch)))
        for epoch in epochs
    ]
    start = first - epochs[0] * images
    return torch.cat(orders)[start : start + batch_size]


def _cross_entropy(logits: torch.Tensor, target: float) -> torch.Tensor:
    import torch
    import torch.nn.functional as F

    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, target))
