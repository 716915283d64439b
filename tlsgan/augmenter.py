"""CycleGAN and TL-S-CycleGAN as augmentation methods: they translate training images of each class into the other.

CycleGAN: Zhu et al. 2017, "Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks".
TL-S-CycleGAN changes its discriminators: ImageNet networks with an additional class output, after TL-S-GAN (Amin et al.
2022). Domain A is the first class, B the second. ``G_ab`` translates A to B, ``G_ba`` translates B to A.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt

from bench.abilities import ExportedNetwork, Transfer
from bench.errors import ConfigError, DataError
from bench.interfaces import RunContext, TrainingData
from bench.seeding import derive_seed, seed_everything
from bench.types import ProfiledStep, Size, SyntheticImage, Uint8Images, height_width
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

STAGES = {"resnet50": 5, "vgg16": 5, "tf_efficientnet_lite0": 8}  # of backbones that halve an image five times
CLASS_HEAD = "class head of D_a"
REAL_OR_FAKE = "real/fake output of D_a, class 0 if its mean is above 0.5"


class CycleGAN:
    """Unpaired translation between two classes (Zhu et al. 2017). The subclasses differ in their config only."""

    kind: ClassVar[Literal["generative"]] = "generative"
    version: ClassVar[int] = 2
    Config: ClassVar[type] = CycleGANConfig
    family: ClassVar[str] = "cyclegan"
    updates: ClassVar[tuple[str, ...]] = ("generator", "discriminator", "discriminator")
    search_space = search_space

    def __init__(self, config: CycleGANConfig):
        self.config = config

    def check(self, classes: Sequence[str]) -> None:
        """Raise ``ConfigError`` unless the data set has exactly two classes."""
        if len(classes) != 2:
            raise ConfigError(
                f"a CycleGAN translates between 2 classes, this dataset has {len(classes)} ({', '.join(classes)}); "
                "choose two of them, or a method for any number of classes such as cgan"
            )

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
        facts = train(config, nets, images_a, images_b, ctx)
        save_generators(ctx.folder, nets)
        if self.config.keep_discriminator:
            save_discriminator(ctx.folder, nets)
        (ctx.folder / "weights.json").write_text(json.dumps(source, indent=2) + "\n")
        parameters = sum(p.numel() for net in nets.named().values() for p in net.parameters())
        (ctx.folder / "facts.json").write_text(json.dumps({"parameters": parameters, **facts}) + "\n")
        described = {"classes": list(data.classes), "image_size_px": self._size(data), "config": asdict(config)}
        (ctx.folder / "generator.json").write_text(json.dumps(described, indent=2) + "\n")

    def synthesize(
        self, data: TrainingData, counts: Mapping[int, int], fitted: Path, ctx: RunContext
    ) -> Iterable[SyntheticImage]:
        """Yield translations into each label, each with the path of its source image.

        If ``counts`` exceed the number of source images, these are used again rotated and mirrored, then also shifted.
        """
        from tlsgan.checkpoint import load_generator
        from tlsgan.synthesis import translate

        for label, count in sorted(counts.items()):
            if count == 0:
                continue
            generator = load_generator(fitted, "G_ba" if label == 0 else "G_ab", self.config, ctx.device)
            records = [r for r in data.records if r.label != label]
            sources = self._images(data, 1 - label)
            seed = derive_seed("tlsgan.synthesize", ctx.seed, label)
            for image, how in translate(generator, sources, count, seed, ctx.device):
                yield SyntheticImage(image, label, how.seed, records[how.source].path)

    def exported_networks(self, data: TrainingData, fitted: Path) -> dict[str, ExportedNetwork]:
        """Return both generators: 'to_1' translates images of class 0 into class 1, 'to_0' the reverse."""
        import torch

        from tlsgan.checkpoint import load_plain_generator
        from tlsgan.synthesis import Translator

        inputs = {"images": torch.rand(2, 3, *height_width(self._size(data)))}
        return {
            f"to_{label}": ExportedNetwork(
                Translator(load_plain_generator(fitted, name, self.config)),
                inputs,
                {"images": f"RGB in [0, 1], of class {1 - label}"},
            )
            for label, name in ((0, "G_ba"), (1, "G_ab"))
        }

    def training_steps(self, image_size_px: int, batch_size: int, device: str) -> Mapping[str, ProfiledStep]:
        """Return the reference and the fast training step for profiling."""
        from tlsgan.profile import training_steps

        return training_steps(self.config, self.translation_size_px(image_size_px), batch_size, device)

    @property
    def transfer(self) -> Transfer:
        """Initial weights of the discriminators: 'pretrained', 'random', or 'none' for a PatchGAN."""
        if self.config.discriminator == PATCHGAN:
            return "none"
        return "pretrained" if self.config.pretrained else "random"

    @property
    def resize(self) -> str | None:
        """How images are resized to ``image_size_px``: 'squash' or 'crop'; None: as the suite says."""
        return self.config.resize

    def translation_size_px(self, image_size_px: int) -> Size:
        """Return the side, or (height, width), of the training images in pixels, given the suite's side."""
        return self.config.image_size_px or image_size_px

    def cycle(self, images: Uint8Images, label: int, fitted: Path, ctx: RunContext) -> tuple[Uint8Images, Uint8Images]:
        """Return translations of images of class ``label`` and their reconstructions, all uint8 [N, H, W, 3]."""
        from tlsgan.checkpoint import load_generator
        from tlsgan.synthesis import cycle

        names = ("G_ab", "G_ba") if label == 0 else ("G_ba", "G_ab")
        there, back = (load_generator(fitted, name, self.config, ctx.device) for name in names)
        return cycle(there, back, images, ctx.device)

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

    def _size(self, data: TrainingData) -> Size:
        return self.translation_size_px(data.image_size_px)

    def _images(self, data: TrainingData, label: int) -> Uint8Images:
        chosen = np.flatnonzero(data.labels == label)
        if not len(chosen):
            raise DataError(
                f"the training part has no image of class {data.classes[label]!r}, expected at least 1; "
                "change the split or add images"
            )
        return data.images(self._size(data))[chosen]


class TLSGANResNet50(CycleGAN):
    """TL-S-CycleGAN with pretrained ResNet-50 discriminators."""

    Config = TLSGANResNet50Config


class TLSGANResNet50Scratch(CycleGAN):
    """TL-S-CycleGAN with ResNet-50 discriminators trained from random weights."""

    Config = TLSGANResNet50ScratchConfig


class TLSGANVGG16(CycleGAN):
    """TL-S-CycleGAN with pretrained VGG-16 discriminators."""

    Config = TLSGANVGG16Config


class TLSGANVGG16Scratch(CycleGAN):
    """TL-S-CycleGAN with VGG-16 discriminators trained from random weights."""

    Config = TLSGANVGG16ScratchConfig


class TLSGANLite0(CycleGAN):
    """TL-S-CycleGAN with pretrained EfficientNet-Lite0 discriminators, whose weights need no download."""

    Config = TLSGANLite0Config


class TLSGANLite0Scratch(CycleGAN):
    """TL-S-CycleGAN with EfficientNet-Lite0 discriminators trained from random weights."""

    Config = TLSGANLite0ScratchConfig
