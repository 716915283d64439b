"""The ResNet generator of CycleGAN (Zhu et al. 2017, appendix 7.2, after Johnson et al. 2016).

c7s1-f, d2f, d4f, N residual blocks of 4f, u2f, uf, c7s1-3, tanh; reflection padding, a bias in every convolution.
Changes to the paper: the numbers of filters and blocks are options, and the norm can be batch norm (TL-S-CycleGAN).
Options: one channel for grey images; upsampling by resizing (Odena et al. 2016, "Deconvolution and Checkerboard
Artifacts"): transposed convolutions of 3×3 with stride 2 overlap unevenly, which shows as a checkerboard; a residual
generator (de Bel et al. 2021, "Residual cyclegan for robust domain transformation of histopathological tissue slides"),
which learns what to change in an image. Its last convolution begins at zero, so training begins at the identity.
Parameters are named ``model.N…`` and ``model.N.conv_block.M…`` as in published checkpoints of this family.
"""

from __future__ import annotations

import torch
from torch import nn

INSIDE = 0.99  # grey levels of a residual generator's input: ±1 would be infinite before tanh


class ResidualBlock(nn.Module):
    """x + conv(relu(conv(x))), both 3×3 with reflection padding and norm; [B, C, H, W] in and out."""

    def __init__(self, channels: int, norm: type[nn.Module]):
        super().__init__()
        self.conv_block = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3),
            norm(channels),
            nn.ReLU(inplace=True),
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3),
            norm(channels),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return x plus its convolved copy, [B, C, H, W]."""
        return x + self.conv_block(x)


class ResNetGenerator(nn.Module):
    """Translate images float [B, C, H, W] in [-1, 1] to images of the same shape; H and W are multiples of 4.

    ``norm`` is 'instance' (no parameters, no running statistics) or 'batch'. ``upsample``: 'transposed' convolutions,
    or 'resize': nearest neighbours and a 3×3 convolution. ``residual``: the last convolution's output r is added to the
    input before tanh, tanh(atanh(x) + r), so that the range holds; x is shrunk by ``INSIDE`` to keep atanh finite.
    """

    def __init__(
        self,
        filters: int = 64,
        blocks: int = 9,
        norm: str = "instance",
        channels: int = 3,
        upsample: str = "transposed",
        residual: bool = False,
    ):
        super().__init__()
        self.channels, self.residual = channels, residual
        norm_layer: type[nn.Module] = nn.InstanceNorm2d if norm == "instance" else nn.BatchNorm2d
        f = filters
        layers: list[nn.Module] = [
            nn.ReflectionPad2d(3),
            nn.Conv2d(channels, f, 7),
            norm_layer(f),
            nn.ReLU(inplace=True),
        ]
        for width in (f, 2 * f):
            layers += [
                nn.Conv2d(width, 2 * width, 3, stride=2, padding=1),
                norm_layer(2 * width),
                nn.ReLU(inplace=True),
            ]
        layers += [ResidualBlock(4 * f, norm_layer) for _ in range(blocks)]
        for width in (4 * f, 2 * f):
            layers += [
                *_doubled(width, width // 2, upsample),
                norm_layer(width // 2),
                nn.ReLU(inplace=True),
            ]
        last = nn.Conv2d(f, channels, 7)
        layers += [nn.ReflectionPad2d(3), last, *([] if residual else [nn.Tanh()])]
        self.model = nn.Sequential(*layers)
        self.apply(init_gaussian)
        if residual:
            nn.init.zeros_(last.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the translated images, float [B, C, H, W] in [-1, 1]."""
        if self.residual:
            return torch.tanh(torch.atanh(INSIDE * x) + self.model(x))
        return self.model(x)


def _doubled(width: int, out: int, upsample: str) -> list[nn.Module]:
    """Return the layers that double the sides of a map of ``width`` channels and give it ``out`` channels."""
    if upsample == "transposed":
        return [nn.ConvTranspose2d(width, out, 3, stride=2, padding=1, output_padding=1)]
    return [nn.Upsample(scale_factor=2), nn.ReflectionPad2d(1), nn.Conv2d(width, out, 3)]


def init_gaussian(module: nn.Module) -> None:
    """Draw convolution weights from N(0, 0.02), biases 0 (Zhu et al. 2017, section 4)."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
