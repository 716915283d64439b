"""Generator and discriminator of the conditional GAN; see ``baselines.cgan`` for where each part comes from."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

MAX_START_PX = 8  # the side of the first feature map is halved from the image's until it is no more than this
MAX_WIDENING = 8  # no layer has more than this many times ``filters`` channels


def stages(image_size_px: int) -> tuple[int, int]:
    """Return (side of the first feature map, number of doublings); the side is odd or at most ``MAX_START_PX``.

    >>> stages(64), stages(96), stages(48)
    ((8, 3), (6, 4), (6, 3))
    """
    side, doublings = image_size_px, 0
    while side % 2 == 0 and side > MAX_START_PX:
        side, doublings = side // 2, doublings + 1
    return side, doublings


def _widths(filters: int, doublings: int) -> list[int]:
    """Channels from the first feature map (widest) to the one of half the image's side (``filters``)."""
    return [filters * min(2**i, MAX_WIDENING) for i in reversed(range(doublings))]


class Generator(nn.Module):
    """Noise float [B, z_dim] and labels int64 [B] -> images float [B, 3, S, S] in [-1, 1].

    DCGAN (Radford et al. 2016): transposed 4×4 convolutions of stride 2 with batch norm and ReLU, tanh at the end.
    The label comes in as a learned vector beside the noise (Mirza & Osindero 2014).
    """

    def __init__(self, num_classes: int, image_size_px: int, z_dim: int, filters: int) -> None:
        super().__init__()
        self.side, doublings = stages(image_size_px)
        widths = _widths(filters, doublings)
        self.z_dim, self.widest = z_dim, widths[0]
        self.label = nn.Embedding(num_classes, z_dim)
        self.first = nn.Linear(2 * z_dim, self.widest * self.side**2)
        layers: list[nn.Module] = [nn.BatchNorm2d(self.widest), nn.ReLU(inplace=True)]
        for a, b in zip(widths, [*widths[1:], 0], strict=True):
            layers.append(nn.ConvTranspose2d(a, b or 3, 4, stride=2, padding=1, bias=not b))
            layers += [nn.BatchNorm2d(b), nn.ReLU(inplace=True)] if b else [nn.Tanh()]
        self.layers = nn.Sequential(*layers)

    def forward(self, z: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return images float [B, 3, S, S] in [-1, 1]."""
        x = self.first(torch.cat([z, self.label(labels)], dim=1))
        x = x.view(-1, self.widest, self.side, self.side).contiguous(memory_format=torch.channels_last)
        return self.layers(x)


class Discriminator(nn.Module):
    """Images float [B, 3, S, S] in [-1, 1] and labels int64 [B] -> scores float [B], high for real.

    Spectrally normalised convolutions (Miyato et al. 2018) and a projection head (Miyato & Koyama 2018, equation 4):
    score = w·φ(x) + v_label·φ(x), where φ(x) is the feature map averaged over the image.
    """

    def __init__(self, num_classes: int, image_size_px: int, filters: int) -> None:
        super().__init__()
        _, doublings = stages(image_size_px)
        layers: list[nn.Module] = []
        channels = 3
        for width in reversed(_widths(filters, doublings)):
            layers += [_conv(channels, width, 4, stride=2), nn.LeakyReLU(0.2, inplace=True)]
            channels = width
        layers += [_conv(channels, channels, 3, stride=1), nn.LeakyReLU(0.2, inplace=True)]
        self.layers = nn.Sequential(*layers)
        self.score = spectral_norm(nn.Linear(channels, 1))
        self.label = spectral_norm(nn.Embedding(num_classes, channels))

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return scores float [B]."""
        features = self.layers(x).mean(dim=(2, 3))
        return self.score(features).squeeze(1) + (self.label(labels) * features).sum(dim=1)


def _conv(channels_in: int, channels_out: int, kernel: int, stride: int) -> nn.Module:
    return spectral_norm(nn.Conv2d(channels_in, channels_out, kernel, stride=stride, padding=1))


def initialise(network: nn.Module) -> None:
    """DCGAN's start for the generator: weights from N(0, 0.02), batch-norm scales from N(1, 0.02)."""
    for module in network.modules():
        if isinstance(module, (nn.ConvTranspose2d, nn.Linear)):
            nn.init.normal_(module.weight, 0.0, 0.02)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, 0.02)
