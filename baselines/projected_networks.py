"""Generator and discriminators of ``projected_gan``.

Generator: the light one of Liu et al. 2021, "Towards Faster and Stabilized GAN Training for High-fidelity Few-shot
Image Synthesis" (FastGAN): gated convolutions and skip-layer excitation. Discriminators: Sauer et al. 2021, "Projected
GANs Converge Faster", section 3 (multi-scale discriminators, cross-channel and cross-scale mixing). Each class names
what is changed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import timm
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.nn.utils.parametrizations import spectral_norm

from baselines.cgan_networks import stages
from bench.errors import WeightsError
from bench.weights import LITE0, StateDict, describe_mismatch

START_PX = 4  # side of the generator's first map, at most
WIDEST = 8  # no map of the generator has more channels than this multiple of ``filters``
SPAN = 3  # doublings between the map that makes a skip-layer excitation and the map that it scales
LEVELS = ((0, 2), (2, 3), (3, 5), (5, 7))  # stages of EfficientNet-Lite0, which end at 1/4, 1/8, 1/16, 1/32 of the side
CHANNELS = (24, 40, 112, 320)  # of its maps there
GROUPS = 8  # of the discriminators' group norms


class ConditionalNorm(nn.Module):
    """Batch norm of maps [B, C, H, W] whose scale and shift are linear in a condition [B, E] (Chen et al. 2019)."""

    def __init__(self, channels: int, condition: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.modulation = nn.Linear(condition, 2 * channels)

    def forward(self, x: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        """Return norm(x) · (1 + scale) + shift."""
        scale, shift = self.modulation(condition)[:, :, None, None].chunk(2, dim=1)
        return torch.addcmul(shift, self.norm(x), 1 + scale)


def gated(x: torch.Tensor) -> torch.Tensor:
    """Return a · sigmoid(b), float [B, C, H, W], a and b being the halves of the channels of ``x`` [B, 2C, H, W].

    ``F.glu`` is the same, but its gradient is not channels-last: on a CPU, batch norm's then takes 12 times as long.
    """
    a, b = x.chunk(2, dim=1)
    return a * b.sigmoid()


class Doubling(nn.Module):
    """Maps [B, I, H, W] and conditions [B, E] -> maps [B, O, 2H, 2W]: nearest neighbours, 3×3, norm, gated unit."""

    def __init__(self, inputs: int, outputs: int, condition: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, 2 * outputs, 3, padding=1, bias=False)
        self.norm = ConditionalNorm(2 * outputs, condition)

    def forward(self, x: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        """Return maps of twice the side."""
        return gated(self.norm(self.conv(F.interpolate(x, scale_factor=2)), condition))


class SkipExcitation(nn.Module):
    """Scales of the channels of a large map, in (0, 1), from a small map of the same image (FastGAN, equation 1)."""

    def __init__(self, small: int, large: int, side: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.AdaptiveAvgPool2d(min(side, START_PX)),
            nn.Conv2d(small, large, min(side, START_PX)),
            nn.LeakyReLU(0.1),
            nn.Conv2d(large, large, 1),
            nn.Sigmoid(),
        )

    def forward(self, small: torch.Tensor, large: torch.Tensor) -> torch.Tensor:
        """Return ``large`` [B, C, H, W] with scaled channels."""
        return large * self.layers(small)


class FastGenerator(nn.Module):
    """Noise float [B, z_dim] and labels int64 [B] -> images float [B, C, S, S] in [-1, 1].

    The side is doubled from an odd number or at most 4 pixels. Changed against FastGAN: noise and an embedding of the
    class set scale and shift of each batch norm; a skip spans three doublings instead of four, so that images of 32 px
    have one; no spectral norm in the generator.
    """

    def __init__(self, num_classes: int, image_size_px: int, z_dim: int, filters: int, channels: int) -> None:
        super().__init__()
        self.side, doublings = stages(image_size_px, START_PX)
        widths = [filters * min(2**i, WIDEST) for i in reversed(range(doublings + 1))]
        self.label = nn.Embedding(num_classes, z_dim)
        self.first = nn.ConvTranspose2d(z_dim, 2 * widths[0], self.side, bias=False)
        self.first_norm = ConditionalNorm(2 * widths[0], 2 * z_dim)
        self.doublings = nn.ModuleList(Doubling(a, b, 2 * z_dim) for a, b in pairwise(widths))
        sides = [self.side * 2**i for i in range(doublings + 1)]
        self.skips = nn.ModuleList(
            SkipExcitation(widths[i], widths[i + SPAN], sides[i]) for i in range(doublings + 1 - SPAN)
        )
        self.last = nn.Conv2d(widths[-1], channels, 3, padding=1)

    def forward(self, z: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return images float [B, C, S, S] in [-1, 1]."""
        z = z * z.square().mean(dim=1, keepdim=True).add(1e-8).rsqrt()
        condition = torch.cat([z, self.label(labels)], dim=1)
        maps = [gated(self.first_norm(self.first(z[:, :, None, None]), condition))]
        for i, double in enumerate(self.doublings, start=1):
            x = double(maps[-1], condition)
            maps.append(self.skips[i - SPAN](maps[i - SPAN], x) if i >= SPAN else x)
        return torch.tanh(self.last(maps[-1]))


def feature_network() -> nn.Module:
    """Return EfficientNet-Lite0 (Tan & Le 2019) with random weights, without its head, in evaluation mode."""
    network: Any = timm.create_model(LITE0, pretrained=False, num_classes=0)
    network.conv_head = network.bn2 = nn.Identity()  # not used
    return network.eval()


def folded(network: nn.Module) -> nn.Module:
    """Merge each batch norm of a network in evaluation mode into the convolution before it, in place.

    Up to rounding, the outputs stay the same; a fifth of the time is saved.
    """
    last = ""
    for name, child in list(network.named_children()):
        if isinstance(child, nn.Conv2d):
            last = name
        elif isinstance(child, nn.BatchNorm2d):
            setattr(network, last, fuse_conv_bn_eval(getattr(network, last), child))
            setattr(network, name, getattr(child, "act", nn.Identity()))  # timm's batch norms have an activation
        else:
            folded(child)
    return network


class FeatureProjector(nn.Module):
    """Images float [B, 3, R, R] in [-1, 1] -> four mixed feature maps of sides R/4, R/8, R/16, R/32; never trained.

    The maps of EfficientNet-Lite0, whose ImageNet training used images in [-1, 1], are mixed by fixed random
    convolutions: 1×1 within a map, then 3×3 from each map to the next larger one, which is added after bilinear
    enlargement (Sauer et al. 2021, section 3.2). ``widths`` are the channels of the mixed maps.
    """

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.backbone: Any = folded(feature_network())
        self.within = nn.ModuleList(nn.Conv2d(c, w, 1, bias=False) for c, w in zip(CHANNELS, widths, strict=True))
        self.between = nn.ModuleList(nn.Conv2d(b, a, 3, padding=1, bias=False) for a, b in pairwise(widths))
        for conv in (*self.within, *self.between):
            nn.init.kaiming_normal_(conv.weight)

    def load_backbone(self, weights: StateDict) -> None:
        """Load the weights of EfficientNet-Lite0. Raises ``WeightsError`` if they do not fit."""
        network = feature_network()
        expected = network.state_dict()
        found = {name: tensor for name, tensor in weights.items() if name in expected}
        if problem := describe_mismatch(expected, found):
            raise WeightsError(f"the weights for {LITE0!r} do not fit: {problem}; use weights of that architecture")
        network.load_state_dict(found)
        self.backbone.load_state_dict(folded(network).state_dict())

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Return the mixed maps, the largest first."""
        x, found = self.backbone.bn1(self.backbone.conv_stem(x)), []
        for (start, end), within in zip(LEVELS, self.within, strict=True):
            x = self.backbone.blocks[start:end](x)
            found.append(within(x))
        for i in reversed(range(len(self.between))):
            above = F.interpolate(self.between[i](found[i + 1]), scale_factor=2, mode="bilinear")
            found[i] = found[i] + above
        return found


class MapDiscriminator(nn.Module):
    """Feature maps [B, I, H, W] and labels int64 [B] -> scores [B, H·W / 4^n] of places, for n halvings.

    Spectral norm in each convolution, group norm and leaky ReLU after each halving. The score of a place with features
    f is w·f + e_y·f / √C (projection discriminator, Miyato & Koyama 2018, equation 4); the root keeps the product of
    the order of w·f whatever the number of channels C. With ``unlabelled`` the label ``num_classes`` stands for an
    image without label, whose score is w·f.
    """

    def __init__(self, num_classes: int, widths: Sequence[int], unlabelled: bool = False) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for a, b in pairwise(widths):
            layers += [spectral_norm(nn.Conv2d(a, b, 4, stride=2, padding=1, bias=False))]
            layers += [nn.GroupNorm(math.gcd(GROUPS, b), b), nn.LeakyReLU(0.2, inplace=True)]
        self.layers = nn.Sequential(*layers)
        self.features = spectral_norm(nn.Conv2d(widths[-1], widths[-1], 3, padding=1))
        self.score = spectral_norm(nn.Conv2d(widths[-1], 1, 1))
        # The embedding of ``padding_idx`` gets no gradient, so it stays at 0.
        self.label = nn.Embedding(num_classes + unlabelled, widths[-1], padding_idx=num_classes if unlabelled else None)
        nn.init.normal_(self.label.weight[:num_classes], 0.0, 0.02)

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the scores, one for each place."""
        f = F.leaky_relu(self.features(self.layers(x)), 0.2)
        by_class = (self.label(labels)[:, :, None, None] * f).sum(dim=1) / f.shape[1] ** 0.5
        return (self.score(f).squeeze(1) + by_class).flatten(1)


class ProjectedDiscriminator(nn.Module):
    """Images float [B, C, S, S] in [-1, 1] and labels int64 [B] -> scores float [B, 4 (R/32)²], high for real.

    Images are resized to R pixels; a single channel is repeated. One discriminator for each of four feature maps halves
    it to the side of the smallest, R/32, so that all scales have the same number of scores. Changed against the paper:
    group norm instead of batch norm, so that a score does not depend on the batch; a 3×3 convolution before the scores;
    the class, and ``unlabelled`` images without one.
    """

    def __init__(self, num_classes: int, feature_size_px: int, filters: int, unlabelled: bool = False) -> None:
        super().__init__()
        widths = [filters * 2**i for i in range(len(LEVELS))]
        self.size = feature_size_px
        self.projector = FeatureProjector(widths).requires_grad_(False).eval()
        self.discriminators = nn.ModuleList(
            MapDiscriminator(num_classes, widths[i:], unlabelled) for i in range(len(widths))
        )

    def train(self, mode: bool = True) -> ProjectedDiscriminator:
        """Set the mode of the discriminators; the projector stays in evaluation mode."""
        super().train(mode)
        self.projector.eval()
        return self

    def requires_grad_(self, requires_grad: bool = True) -> ProjectedDiscriminator:
        """Set whether the discriminators are trained; the projector never is."""
        self.discriminators.requires_grad_(requires_grad)
        return self

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the scores of all places and scales."""
        x = x.expand(-1, 3, -1, -1)
        if x.shape[-1] != self.size:
            x = F.interpolate(x, size=(self.size, self.size), mode="bilinear", align_corners=False)
        maps = self.projector(x)
        return torch.cat([d(m, labels) for d, m in zip(self.discriminators, maps, strict=True)], dim=1)
