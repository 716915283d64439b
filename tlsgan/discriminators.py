"""Discriminators: the 70×70 PatchGAN (Isola et al. 2017) and the two-headed transfer discriminator of TL-S-CycleGAN.

The PatchGAN is that of CycleGAN (Zhu et al. 2017); an option replaces its instance norm by spectral norm. TL-S-CycleGAN
replaces it by a classification network without classifier (ResNet-50, He et al. 2016; VGG-16, Simonyan & Zisserman
2015; any convolutional timm network) and two heads on its features: real or fake (a probability), and the class
(logits). Options: the real/fake head alone, or one head with the outputs class 1 … n and fake (TL-S-GAN, Amin et al.
2022).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import torch
from torch import nn

from bench.errors import ConfigError, nearest
from bench.types import Size, height_width
from tlsgan.config import CLASSES_AND_FAKE, PATCHGAN, TWO_HEADS, CycleGANConfig
from tlsgan.freezing import freeze
from tlsgan.generators import init_gaussian
from tlsgan.spectral_norm import normalise_spectrally

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
HIDDEN_LAYERS = {"vgg16": 2}  # as in the classifier of VGG-16; the heads of other backbones have one
NUM_CLASSES = 2


class DiscriminatorOutput(NamedTuple):
    """Output of a discriminator: ``real`` [B, …], target 1 for real and 0 for fake; ``classes``, logits [B, 2].

    For the head 'classes_and_fake' ``real`` is the logit of real against fake [B, 1].
    """

    real: torch.Tensor
    classes: torch.Tensor | None


class PatchGAN(nn.Module):
    """4×4 convolutions f-2f-4f-8f-1, strides 2, 2, 2, 1, 1; the receptive field of each output is 70×70 pixels.

    Float [B, C, H, W] in [-1, 1] to a raw map [B, 1, H/8 − 2, W/8 − 2]. With ``spectral`` every convolution is
    spectrally normalised, and instance norm is left out, because it would cancel the scale of the weights.
    """

    def __init__(self, filters: int = 64, spectral: bool = False, channels: int = 3):
        super().__init__()
        f, self.channels = filters, channels
        layers: list[nn.Module] = [nn.Conv2d(channels, f, 4, stride=2, padding=1), nn.LeakyReLU(0.2, inplace=True)]
        for width, stride in ((f, 2), (2 * f, 2), (4 * f, 1)):
            layers += [
                nn.Conv2d(width, 2 * width, 4, stride=stride, padding=1),
                nn.Identity() if spectral else nn.InstanceNorm2d(2 * width),
                nn.LeakyReLU(0.2, inplace=True),
            ]
        layers += [nn.Conv2d(8 * f, 1, 4, padding=1)]
        self.model = nn.Sequential(*layers)
        self.apply(init_gaussian)
        if spectral:
            normalise_spectrally(self)

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """Return the raw map [B, 1, H/8 − 2, W/8 − 2]; a PatchGAN has no layers after it."""
        return self.model(x)

    def heads(self, features: torch.Tensor) -> DiscriminatorOutput:
        """Return the output for features."""
        return DiscriminatorOutput(features, None)

    def forward(self, x: torch.Tensor) -> DiscriminatorOutput:
        """Return the outputs of both heads."""
        return self.heads(self.features(x))


class TransferDiscriminator(nn.Module):
    """A backbone [B, 3, H, W] -> [B, features] and two heads, real/fake in (0, 1) [B, 1] and class logits [B, 2].

    Images are in [-1, 1]; ``mean`` and ``std`` are the backbone's normalisation of [0, 1] images, to which they are
    converted (the published networks do not convert them). ``head`` None: real/fake head alone. 'classes_and_fake': one
    head of n + 1 logits l, whose softmax gives p(class) and p(fake). Its ``real`` is log((1 - p(fake)) / p(fake)) =
    logsumexp(l_1 … l_n) - l_fake; its ``classes`` are l_1 … l_n, whose softmax is p(class | real) (Salimans et al.
    2016, section 5). ``frozen`` are layers of the backbone that stay in evaluation mode.
    """

    def __init__(
        self,
        backbone: nn.Module,
        features: int,
        head_width: int,
        hidden_layers: int = 1,
        dropout: float = 0.4,
        mean: tuple[float, ...] = (0.5, 0.5, 0.5),
        std: tuple[float, ...] = (0.5, 0.5, 0.5),
        head: str | None = TWO_HEADS,
        frozen: Sequence[nn.Module] = (),
    ):
        super().__init__()
        self.channels = 3
        self.backbone, self.frozen = backbone, list(frozen)
        self.head_real: nn.Module | None = None
        self.head_class: nn.Module | None = None
        if head != CLASSES_AND_FAKE:
            self.head_real = _head(features, head_width, hidden_layers, dropout, 1)
        if head is not None:
            outputs = NUM_CLASSES + (head == CLASSES_AND_FAKE)
            self.head_class = _head(features, head_width, hidden_layers, dropout, outputs)
        # x in [-1, 1] is (x / 2 + 1/2) in [0, 1], so the backbone's (. − mean) / std is scale · x + shift
        scale = [0.5 / s for s in std]
        shift = [(0.5 - m) / s for m, s in zip(mean, std, strict=True)]
        self.scale: torch.Tensor
        self.shift: torch.Tensor
        self.identity_normalisation = scale == [1.0] * 3 and shift == [0.0] * 3
        self.register_buffer("scale", torch.tensor(scale).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("shift", torch.tensor(shift).view(1, 3, 1, 1), persistent=False)

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """Return the backbone's features [B, F]; deterministic, since only the heads have dropout.

        A single channel is repeated: the backbone's weights are for three.
        """
        x = x.expand(-1, 3, -1, -1)
        if not self.identity_normalisation:
            x = x * self.scale + self.shift
        return self.backbone(x).flatten(1)

    def heads(self, features: torch.Tensor) -> DiscriminatorOutput:
        """Return the output for features [B, F]; dropout draws a mask for head_real, then one for head_class."""
        real = None if self.head_real is None else torch.sigmoid(self.head_real(features))
        classes = None if self.head_class is None else self.head_class(features)
        if real is not None:
            return DiscriminatorOutput(real, classes)
        assert classes is not None
        logits = classes.to(torch.promote_types(classes.dtype, torch.float32))  # bfloat16 has three digits only
        classes, fake = logits.split((NUM_CLASSES, 1), dim=1)
        return DiscriminatorOutput(classes.logsumexp(1, keepdim=True) - fake, classes)

    def train(self, mode: bool = True) -> TransferDiscriminator:
        """Set the mode of all layers but the frozen ones, whose batch norms keep their statistics."""
        super().train(mode)
        for layer in self.frozen:
            layer.eval()
        return self

    def forward(self, x: torch.Tensor) -> DiscriminatorOutput:
        """Return the outputs of both heads."""
        return self.heads(self.features(x))


Discriminator = PatchGAN | TransferDiscriminator  # both have ``features`` and ``heads``


def _head(features: int, width: int, hidden_layers: int, dropout: float, outputs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for i in range(hidden_layers):
        layers += [nn.Linear(width if i else features, width), nn.ReLU(inplace=True), nn.Dropout(dropout)]
    return nn.Sequential(*layers, nn.Linear(width, outputs))


def build_backbone(name: str) -> nn.Module:
    """Return a randomly initialised network that outputs features: [B, F], or a map [B, C, H, W] for VGG.

    Raises ``ConfigError`` for a name that neither torchvision nor timm knows.
    """
    if name == "resnet50":
        from torchvision.models import resnet50

        network = resnet50(weights=None)
        network.fc = nn.Identity()
        return network
    if name == "vgg16":
        from torchvision.models import vgg

        features = vgg.make_layers(vgg.cfgs["D"])  # without the 124 million weights of its classifier
        for layer in features:
            if isinstance(layer, nn.Conv2d) and layer.bias is not None:  # as torchvision initialises it
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(layer.bias)
        return features
    import timm

    if not timm.is_model(name):
        known = [PATCHGAN, "resnet50", "vgg16", *timm.list_models(f"{name.split('_')[0]}*")]
        raise ConfigError(f"unknown discriminator {name!r}; {nearest(name, known)}")
    return timm.create_model(name, pretrained=False, num_classes=0)


def backbone_normalisation(backbone: nn.Module) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the mean and standard deviation of [0, 1] images that the backbone's ImageNet training used."""
    timm_config = getattr(backbone, "default_cfg", {})
    return timm_config.get("mean", IMAGENET_MEAN), timm_config.get("std", IMAGENET_STD)


@cache
def feature_width(name: str, image_size_px: Size, batch_size: int, trained_stages: int | None = None) -> int:
    """Return the number of features of a backbone for an image size; computes shapes only.

    Raises ``ConfigError`` when the network cannot train on such images: they are too small, or a trained batch norm
    has one value per channel.
    """
    with torch.device("meta"):
        probe = build_backbone(name)
        images = torch.empty(batch_size, 3, *height_width(image_size_px))
    freeze(probe, name, trained_stages)
    try:
        return probe(images).flatten(1).shape[1]
    except (ValueError, RuntimeError, AssertionError) as e:
        raise ConfigError(
            f"{name} cannot train as a discriminator on {image_size_px} px images with batch size {batch_size} ({e}); "
            "use larger images (64 px suffice for resnet50, vgg16 and tf_efficientnet_lite0) or batch_size 2 or more"
        ) from e


def build_discriminator(config: CycleGANConfig, image_size_px: Size) -> Discriminator:
    """Build the config's discriminator with random weights from torch's global generator."""
    if config.discriminator == PATCHGAN:
        return PatchGAN(config.disc_filters, config.spectral_norm, config.image_channels)
    name, stages = config.discriminator, config.trained_stages
    features = feature_width(name, image_size_px, config.batch_size, stages)
    backbone = build_backbone(name)
    mean, std = backbone_normalisation(backbone) if config.imagenet_normalisation else ((0.5,) * 3, (0.5,) * 3)
    return TransferDiscriminator(
        backbone,
        features,
        config.head_width,
        HIDDEN_LAYERS.get(name, 1),
        config.head_dropout,
        mean,
        std,
        head=config.head if config.lambda_class > 0 else None,
        frozen=freeze(backbone, name, stages),
    )
