"""Networks of ``medsyngan``: "PR Classification with MedSynGAN" (seraju77, 2025).

The source gives the order of the layers. Not published, and chosen here: widths, kernels and slope of the leaky ReLU
(DCGAN's, Radford et al. 2016: 4×4 kernels of stride 2, widths halved towards the image, slope 0.2), as many
convolutions in the discriminator as transposed ones in the generator, and a label embedding as long as the noise. The
initial weights are PyTorch's.
"""

from __future__ import annotations

import torch
from torch import nn

SLOPE = 0.2


class Generator(nn.Module):
    """Noise float [B, z_dim] and labels int64 [B] -> images float [B, 3, 128, 128] in [-1, 1].

    Noise and label embedding -> fully connected -> 256 maps of 16×16 -> three transposed convolutions to 128, 64
    and 3 channels, with ReLU between -> tanh.
    """

    def __init__(self, num_classes: int, z_dim: int = 100) -> None:
        super().__init__()
        self.label = nn.Embedding(num_classes, z_dim)
        self.dense = nn.Linear(2 * z_dim, 256 * 16 * 16)
        self.ups = nn.Sequential(
            nn.ReLU(),
            nn.ConvTranspose2d(256, 128, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.ConvTranspose2d(128, 64, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.ConvTranspose2d(64, 3, 4, stride=2, padding=1),
            nn.Tanh(),
        )

    def forward(self, z: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return images float [B, 3, 128, 128] in [-1, 1]."""
        maps = self.dense(torch.cat([z, self.label(labels)], dim=1)).view(-1, 256, 16, 16)
        images: torch.Tensor = self.ups(maps)
        return images


class Discriminator(nn.Module):
    """Images float [B, 3, 128, 128] and labels int64 [B] -> logits float [B]; the sigmoid is in the loss.

    The label embedding is a fourth channel of the image; convolutions of stride 2 to 64, 128 and 256 channels with
    leaky ReLU; flattened; one linear output.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.label = nn.Embedding(num_classes, 128 * 128)
        self.layers = nn.Sequential(
            nn.Conv2d(3 + 1, 64, 4, stride=2, padding=1),
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(64, 128, 4, stride=2, padding=1),
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(128, 256, 4, stride=2, padding=1),
            nn.LeakyReLU(SLOPE),
            nn.Flatten(),
            nn.Linear(256 * 16 * 16, 1),
        )

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return logits float [B]."""
        logits: torch.Tensor = self.layers(torch.cat([x, self.label(labels).view(-1, 1, 128, 128)], dim=1))
        return logits.squeeze(1)
