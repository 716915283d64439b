"""Generator and discriminator of ``cgan``.

Layers after Radford et al. 2016, "Unsupervised Representation Learning with Deep Convolutional Generative Adversarial
Networks" (DCGAN). Changed against it: the label enters both networks, noise and label modulate each layer of the
generator, the discriminator has instance norm and a projection head. Each class names the source of each part.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from baselines.cgan_attention import SelfAttention, attended_side

MAX_START_PX = 8  # side of the first feature map, at most: the image's side is halved until it is reached
MAX_WIDENING = 8  # no layer has more channels than this multiple of ``filters``


def stages(image_size_px: int, start_px: int = MAX_START_PX) -> tuple[int, int]:
    """Return (side of the first feature map, number of doublings); the side is odd or at most ``start_px``.

    >>> stages(64), stages(96), stages(48)
    ((8, 3), (6, 4), (6, 3))
    """
    side, doublings = image_size_px, 0
    while side % 2 == 0 and side > start_px:
        side, doublings = side // 2, doublings + 1
    return side, doublings


def map_widths(filters: int, doublings: int) -> list[int]:
    """Return channels from the first feature map (widest) to the last (``filters``), of half the image's side."""
    return [filters * min(2**i, MAX_WIDENING) for i in reversed(range(doublings))]


def map_sides(image_size_px: int) -> list[int]:
    """Return the sides in pixels of the feature maps of ``map_widths``, in the same order.

    >>> map_sides(64), map_sides(48)
    ([8, 16, 32], [6, 12, 24])
    """
    side, doublings = stages(image_size_px)
    return [side * 2**i for i in range(doublings)]


def normalise_spectrally(network: nn.Module) -> None:
    """Divide every weight matrix, label embeddings included, by its largest singular value (Miyato et al. 2018, eq. 8).

    Each forward pass makes one power iteration. Its vectors are buffers and so part of a checkpoint.
    """
    for module in list(network.modules()):
        if isinstance(module, (nn.Conv2d, nn.Linear, nn.Embedding)):
            spectral_norm(module)


def doubling(inputs: int, outputs: int, upsample: str) -> nn.Module:
    """Return the layer that doubles the sides of a map: a transposed 4×4 convolution of stride 2, or for 'resize'
    nearest neighbours and a 3×3 convolution (Odena et al. 2016, "Deconvolution and Checkerboard Artifacts").
    """
    if upsample == "transposed":
        return nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1)
    return nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(inputs, outputs, 3, padding=1))


class Generator(nn.Module):
    """Noise float [B, z_dim] and labels int64 [B] -> images float [B, C, S, S] in [-1, 1].

    DCGAN (Radford et al. 2016): transposed 4×4 convolutions of stride 2, ReLU, tanh at the end. The label is a learned
    vector concatenated with the noise (Mirza & Osindero 2014), and both also set the scale and shift of every batch
    norm (Chen et al. 2019, self-modulation). Each unit of the dense layer is normalised separately, so that its bias
    cannot dominate the noise. Without these two changes all images of a class were equal within 50 steps.
    ``attention``: self-attention after the activation of the map of side ``attended_side``.
    """

    def __init__(
        self, num_classes: int, image_size_px: int, z_dim: int, filters: int, attention: bool = False,
        channels: int = 3, upsample: str = "transposed",
    ) -> None:  # fmt: skip
        super().__init__()
        self.side, doublings = stages(image_size_px)
        widths = map_widths(filters, doublings)
        self.z_dim, self.widest = z_dim, widths[0]
        self.label = nn.Embedding(num_classes, z_dim)
        self.dense = nn.Linear(2 * z_dim, self.widest * self.side**2, bias=False)
        self.dense_norm = nn.BatchNorm1d(self.widest * self.side**2, affine=False)
        self.norms = nn.ModuleList([nn.Identity(), *(nn.BatchNorm2d(w, affine=False) for w in widths[1:])])
        self.modulations = nn.ModuleList(nn.Linear(2 * z_dim, 2 * w) for w in widths)
        self.ups = nn.ModuleList(doubling(a, b, upsample) for a, b in pairwise([*widths, channels]))
        self.attended = attended_side(map_sides(image_size_px)) if attention else None
        if self.attended:
            self.attention = SelfAttention(widths[map_sides(image_size_px).index(self.attended)])

    def forward(self, z: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return images float [B, C, S, S] in [-1, 1]."""
        condition = torch.cat([z, self.label(labels)], dim=1)
        x = self.dense_norm(self.dense(condition)).view(-1, self.widest, self.side, self.side)
        for norm, modulation, up in zip(self.norms, self.modulations, self.ups, strict=True):
            scale, shift = modulation(condition)[:, :, None, None].chunk(2, dim=1)
            x = F.relu(norm(x) * (1 + scale) + shift)
            if x.shape[-1] == self.attended:
                x = self.attention(x)
            x = up(x)
        return torch.tanh(x)


class Discriminator(nn.Module):
    """Images float [B, C, S, S] in [-1, 1] and labels int64 [B] -> scores float [B], high for real.

    4×4 convolutions of stride 2 with instance norm (as in PatchGAN, Isola et al. 2017) and a projection head (Miyato &
    Koyama 2018, equation 4): score = w·φ(x) + v_label·φ(x) + b, where φ(x) is the last feature map averaged over the
    image. A score does not depend on the rest of the batch. ``attention``: as in the generator. ``spectral``: spectral
    norm in all layers and no instance norm, which would cancel the scale of the weights.
    """

    def __init__(
        self,
        num_classes: int,
        image_size_px: int,
        filters: int,
        attention: bool = False,
        spectral: bool = False,
        image_channels: int = 3,
    ) -> None:
        super().__init__()
        sides = map_sides(image_size_px)
        attended = attended_side(sides) if attention else None
        layers: list[nn.Module] = []
        channels = image_channels
        for side, width in zip(reversed(sides), reversed(map_widths(filters, len(sides))), strict=True):
            first = not layers
            layers.append(nn.Conv2d(channels, width, 4, stride=2, padding=1))
            if not first and not spectral:  # instance norm on the first layer would remove the image's mean colour
                layers.append(nn.InstanceNorm2d(width, affine=True))
            layers.append(nn.LeakyReLU(0.2, inplace=True))
            if side == attended:
                layers.append(SelfAttention(width))
            channels = width
        layers += [nn.Conv2d(channels, channels, 3, padding=1), nn.LeakyReLU(0.2, inplace=True)]
        self.layers = nn.Sequential(*layers)
        self.score = nn.Linear(channels, 1)
        self.label = nn.Embedding(num_classes, channels)
        nn.init.normal_(self.label.weight, 0.0, 0.02)
        if spectral:
            normalise_spectrally(self)

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return scores float [B]."""
        features = self.layers(x).mean(dim=(2, 3))
        return self.score(features).squeeze(1) + (self.label(labels) * features).sum(dim=1)
