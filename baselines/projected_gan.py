"""``projected_gan``: label-conditional GAN whose discriminators see the features of a pretrained network.

Sauer et al. 2021, "Projected GANs Converge Faster": frozen ImageNet features at four resolutions, fixed random mixing,
one small discriminator for each resolution, hinge loss, differentiable augmentation (Zhao et al. 2020). Generator: the
light one of FastGAN (Liu et al. 2021), the paper's choice for small data sets. Changed against them: EfficientNet-Lite0
instead of Lite1; class-conditional in both networks; labels drawn uniformly; networks for small images
(``projected_networks``); averaged generator weights with standing batch-norm statistics, as in ``cgan``; float32 only,
because the class term can overflow in half precision.

Fidelity measured with EfficientNet-Lite0 favours this method: its generator is trained on features of that network
(Kynkäänniemi et al. 2023, "The Role of ImageNet Classes in Fréchet Inception Distance").
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, cast

from baselines.gan_model import LATE, Batch, TrainingImages
from baselines.hinge_gan import HingeGAN, HingeGANConfig
from bench.errors import ConfigError
from bench.types import Choice, FloatRange, IntRange, SearchRange

if TYPE_CHECKING:
    import torch
    from torch import nn

    from baselines.projected_networks import ProjectedDiscriminator

FEATURE_SIZES = (64, 224)  # smallest and largest default of ``feature_size_px``
STRIDE = 32  # of the feature network's last map


@dataclass(frozen=True)
class ProjectedGANConfig(HingeGANConfig):
    """Training budget, sizes of the networks, optimiser and augmentation."""

    beta1: float = 0.0  # Adam
    beta2: float = 0.99  # Adam
    disc_filters: int = 16  # channels of the largest mixed feature map; each smaller one has twice as many
    diffaug: str = "color,translation,cutout"  # images of the discriminator; '': off
    pretrained: bool = True  # ImageNet weights of the feature network; false: random features, an ablation
    unlabelled: bool = field(default=False, metadata=LATE)  # half of the real images are images without labels
    feature_size_px: int | None = None  # side at which it sees the images; None: their own, from 64 to 224

    def __post_init__(self) -> None:
        """Raise ``ConfigError`` for values that cannot be trained with."""
        super().__post_init__()
        if self.disc_filters < 1:
            raise ConfigError(f"disc_filters: got {self.disc_filters}, expected at least 1")
        if self.feature_size_px is not None and (self.feature_size_px < STRIDE or self.feature_size_px % STRIDE):
            raise ConfigError(f"feature_size_px: got {self.feature_size_px}, expected a multiple of {STRIDE}")


class ProjectedGAN(HingeGAN):
    """Light FastGAN generator against discriminators on frozen pretrained features."""

    version: ClassVar[int] = 2  # faster layers, which round differently
    fused_adam: ClassVar[bool] = True
    Config: ClassVar[type] = ProjectedGANConfig
    name: ClassVar[str] = "projected_gan"
    config: ProjectedGANConfig

    def search_space(self) -> dict[str, SearchRange]:
        """Return the options that matter most: learning rates, averaging, widths and budget."""
        c = self.config
        return {
            "learning_rate": FloatRange(5e-5, 1e-3, log=True),
            "discriminator_learning_rate": FloatRange(5e-5, 1e-3, log=True),
            "ema": Choice((0.99, 0.995, 0.999)),
            "filters": IntRange(max(1, c.filters // 2), 2 * c.filters, log=True),
            "disc_filters": IntRange(max(1, c.disc_filters // 2), 2 * c.disc_filters, log=True),
            "steps": IntRange(max(1, c.steps // 2), 2 * c.steps, log=True),
        }

    def check_size(self, image_size_px: int) -> None:
        """Raise ``ConfigError`` unless the side can be halved three times."""
        if image_size_px % 8 or image_size_px < 16:
            raise ConfigError(f"projected_gan: got images of {image_size_px} px, expected a multiple of 8 from 16 on")

    def networks(self, num_classes: int, side_px: int) -> tuple[nn.Module, nn.Module]:
        """Return generator and discriminator. Raises ``ConfigError`` for a side that is no multiple of 8 from 16 on."""
        from baselines.projected_networks import ProjectedDiscriminator

        G = self.generator(num_classes, side_px)
        size, c = self._feature_size(side_px), self.config
        return G, ProjectedDiscriminator(num_classes, size, c.disc_filters, c.unlabelled)

    @property
    def uses_unlabelled(self) -> bool:
        """Whether half of the discriminators' real images have no label."""
        return self.config.unlabelled

    def batch(self, images: TrainingImages, draw: torch.Generator, seed: int, step: int) -> Batch:
        """Return the batch of ``HingeGAN``; with images without labels, these replace the second half of the real ones.

        Their label is the number of classes; the discriminators have no class term for it.
        """
        from baselines.gan_loop import replace_half

        made = super().batch(images, draw, seed, step)
        if images.unlabelled is None:
            return made
        chosen, labels = replace_half(made.chosen, made.real_labels, images.unlabelled, len(images.by_class), draw)
        return made._replace(chosen=chosen, real_labels=labels)

    def generator(self, num_classes: int, side_px: int) -> nn.Module:
        """Return the generator. Raises ``ConfigError`` for a side that is no multiple of 8 from 16 on."""
        from baselines.projected_networks import FastGenerator

        self.check_size(side_px)
        return FastGenerator(num_classes, side_px, self.config.z_dim, self.config.filters, self.image_channels)

    def load_pretrained(self, D: nn.Module, weights: Path | None) -> dict[str, str] | None:
        """Load ImageNet weights into the feature network. Raises ``WeightsError`` if they are not available."""
        from bench.weights import LITE0, backbone_state_dict

        if not self.config.pretrained:
            return None
        state, source = backbone_state_dict(LITE0, weights)
        cast("ProjectedDiscriminator", D).projector.load_backbone(state)
        return {"features": LITE0, **source}

    def _feature_size(self, side_px: int) -> int:
        """Return the side at which the feature network sees the images: a multiple of its stride."""
        if self.config.feature_size_px is not None:
            return self.config.feature_size_px
        least, most = FEATURE_SIZES
        return min(most, max(least, -(-side_px // STRIDE) * STRIDE))
