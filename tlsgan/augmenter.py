"""CycleGAN and TL-S-CycleGAN as augmentation methods: they translate training images of each class into the other.

CycleGAN: Zhu et al. 2017, "Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks".
TL-S-CycleGAN changes its discriminators: ImageNet networks with an additional class output, after TL-S-GAN (Amin et al.
2022). Domain A is the first class, B the second. ``G_ab`` translates A to B, ``G_ba`` translates B to A.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from bench.abilities import Transfer, unlabelled_images
from bench.interfaces import RunContext, TrainingData
from bench.seeding import derive_seed, seed_everything
from bench.types import ProfiledStep, Uint8Images, height_width
from tlsgan.config import (
    PATCHGAN,
    CycleGANConfig,
    TLSGANLite0Config,
    TLSGANLite0ScratchConfig,
    TLSGANResNet50Config,
    TLSGANResNet50ScratchConfig,
    TLSGANVGG16Config,
    TLSGANVGG16ScratchConfig,
    check_image_size,
)
from tlsgan.search_space import search_space
from tlsgan.translator import PairTranslator

STAGES = {"resnet50": 5, "vgg16": 5, "tf_efficientnet_lite0": 8}  # of backbones that halve an image five times
CLASS_HEAD = "class head of D_a"
REAL_OR_FAKE = "real/fake output of D_a, class 0 if its mean is above 0.5"


class CycleGAN(PairTranslator):
    """Unpaired translation between two classes (Zhu et al. 2017). The subclasses differ in their config only."""

    version: ClassVar[int] = 2
    Config: ClassVar[type] = CycleGANConfig
    title: ClassVar[str] = "a CycleGAN"
    family: ClassVar[str] = "cyclegan"
    updates: ClassVar[tuple[str, ...]] = ("generator", "discriminator", "discriminator")
    config: CycleGANConfig
    search_space = search_space

    def check_size(self, image_size_px: int) -> None:
        """Raise ``ConfigError`` when generators or discriminators cannot be trained at this side of the suite's images.

        Imports torch only for a backbone that is not known to take the size.
        """
        size, config = self.translation_size_px(image_size_px), self.config
        check_image_size(size)
        side, stages = min(height_width(size)), STAGES.get(config.discriminator)
        # Below 33 px a single value is left of each channel, which the batch norms of one image cannot train on.
        if stages and side >= (33 if config.batch_size == 1 else 32) and (config.trained_stages or 0) <= stages:
            return
        if config.discriminator != PATCHGAN:
            from tlsgan.discriminators import feature_width

            feature_width(config.discriminator, size, config.batch_size, config.trained_stages)

    def fit(self, data: TrainingData, ctx: RunContext) -> None:
        """Train the networks; write G_ab.safetensors, G_ba.safetensors, weights.json, facts.json and generator.json.

        With ``keep_discriminator`` also D_a.safetensors, for ``classify``. Raises ``WeightsError`` when pretrained
        weights are not available, ``DivergedError`` when a loss is not finite.
        """
        from tlsgan.checkpoint import save_discriminator, save_generators
        from tlsgan.networks import build_networks
        from tlsgan.trainer import train
        from tlsgan.weights import load_pretrained

        self.check(data.classes)
        self.check_size(data.image_size_px)
        config = self.config.for_images(data.grey)
        seed_everything(derive_seed("tlsgan.fit", ctx.seed))
        nets = build_networks(config, self._size(data))
        source = load_pretrained((nets.D_a, nets.D_b), config, ctx.weights)
        with ctx.phase("data"):
            images_a, images_b = (self._images(data, label) for label in (0, 1))
            unlabelled = unlabelled_images(self.title, data, self._size(data)) if config.unlabelled else None
        facts = train(config, nets, images_a, images_b, ctx, unlabelled)
        save_generators(ctx.folder, nets.G_ab, nets.G_ba)
        if self.config.keep_discriminator:
            save_discriminator(ctx.folder, nets)
        (ctx.folder / "weights.json").write_text(json.dumps(source, indent=2) + "\n")
        parameters = sum(p.numel() for net in nets.named().values() for p in net.parameters())
        self._describe(data, config, {"parameters": parameters, **facts}, ctx.folder)

    def training_steps(self, image_size_px: int, batch_size: int, device: str) -> Mapping[str, ProfiledStep]:
        """Return the reference and the fast training step for profiling."""
        from tlsgan.profile import training_steps

        return training_steps(self.config, self.translation_size_px(image_size_px), batch_size, device)

    @property
    def uses_unlabelled(self) -> bool:
        """Whether the discriminators also learn from images without labels."""
        return self.config.unlabelled

    @property
    def transfer(self) -> Transfer:
        """Initial weights of the discriminators: 'pretrained', 'random', or 'none' for a PatchGAN."""
        if self.config.discriminator == PATCHGAN:
            return "none"
        return "pretrained" if self.config.pretrained else "random"

    @property
    def discriminator_classifier(self) -> str:
        """Rule by which D_a classifies, as in the published evaluation; '' if the discriminator is not saved."""
        if not self.config.keep_discriminator:
            return ""
        return CLASS_HEAD if self.config.lambda_class > 0 else REAL_OR_FAKE

    def classify(self, images: Uint8Images, fitted: Path, ctx: RunContext) -> npt.NDArray[np.float64]:
        """Return class probabilities float64 [N, 2] of images uint8 [N, H, W, 3] from the discriminator classifier."""
        from tlsgan.checkpoint import load_discriminator
        from tlsgan.discriminator_classifier import class_probabilities

        height, width = images.shape[1:3]
        return class_probabilities(
            load_discriminator(fitted, self.config, (height, width), ctx.device), images, ctx.device
        )


class TLSGANResNet50(CycleGAN):
    """TL-S-CycleGAN with pretrained ResNet-50 discriminators."""

    Config = TLSGANResNet50Config


class TLSGANResNet50Scratch(CycleGAN):
    """TL-S-CycleGAN with ResNet-50 discriminators trained from random weights."""

    Config = TLSGANResNet50ScratchConfig


class TLSGANVGG16(CycleGAN):
    """TL-S-CycleGAN with pretrained VGG-16 discriminators."""

    version = 3  # other random numbers: no weights are drawn for VGG's classifier, which is not used
    Config = TLSGANVGG16Config


class TLSGANVGG16Scratch(CycleGAN):
    """TL-S-CycleGAN with VGG-16 discriminators trained from random weights."""

    version = 3
    Config = TLSGANVGG16ScratchConfig


class TLSGANLite0(CycleGAN):
    """TL-S-CycleGAN with pretrained EfficientNet-Lite0 discriminators, whose weights need no download."""

    Config = TLSGANLite0Config


class TLSGANLite0Scratch(CycleGAN):
    """TL-S-CycleGAN with EfficientNet-Lite0 discriminators trained from random weights."""

    Config = TLSGANLite0ScratchConfig
