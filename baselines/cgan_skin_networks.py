"""Networks of ``cgan_skin``: Uddin, "Conditional GAN for Skin Cancer Image Generation", 2025.

The source gives layers, widths, feature map sizes and activations (leaky ReLU with slope 0.2 in both networks). It
does not give the following, which we chose:

- labels: one-hot vectors concatenated with the noise, and one constant map per class concatenated with the image;
- kernels: 4×4, with biases;
- batch norm: the defaults of the source's framework (Keras: ε = 1e-3, momentum 0.99, which is 0.01 in PyTorch).

Changed against it: the initial weights are PyTorch's (uniform by fan-in), not Keras' (Glorot).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

SLOPE, EPSILON, MOMENTUM = 0.2, 1e-3, 0.01


class Generator(nn.Module):
    """Noise float [B, z_dim] and labels int64 [B] -> images float [B, 3, 64, 64] in [-1, 1].

    Dense 8·8·256, batch norm, leaky ReLU; transposed convolutions of stride 2 to 128 and 64 channels, each with batch
    norm and leaky ReLU; one to 3 channels, tanh.
    """

    def __init__(self, num_classes: int, z_dim: int = 100) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.dense = nn.Linear(z_dim + num_classes, 8 * 8 * 256)
        self.dense_norm = nn.BatchNorm1d(8 * 8 * 256, EPSILON, MOMENTUM)
        self.ups = nn.Sequential(
            nn.LeakyReLU(SLOPE),
            nn.ConvTranspose2d(256, 128, 4, stride=2, padding=1),
            nn.BatchNorm2d(128, EPSILON, MOMENTUM),
            nn.LeakyReLU(SLOPE),
            nn.ConvTranspose2d(128, 64, 4, stride=2, padding=1),
            nn.BatchNorm2d(64, EPSILON, MOMENTUM),
            nn.LeakyReLU(SLOPE),
            nn.ConvTranspose2d(64, 3, 4, stride=2, padding=1),
            nn.Tanh(),
        )

    def forward(self, z: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return images float [B, 3, 64, 64] in [-1, 1]."""
        condition = torch.cat([z, F.one_hot(labels, self.num_classes).to(z.dtype)], dim=1)
        images: torch.Tensor = self.ups(self.dense_norm(self.dense(condition)).view(-1, 256, 8, 8))
        return images


class Discriminator(nn.Module):
    """Images float [B, 3, 64, 64] and labels int64 [B] -> logits float [B]; the sigmoid is in the loss.

    Convolutions of stride 2 to 64, 128 and 256 channels, leaky ReLU after each, batch norm on the last two; flattened;
    one linear output.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.layers = nn.Sequential(
            nn.Conv2d(3 + num_classes, 64, 4, stride=2, padding=1),
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(64, 128, 4, stride=2, padding=1),
            nn.BatchNorm2d(128, EPSILON, MOMENTUM),
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(128, 256, 4, stride=2, padding=1),
            nn.BatchNorm2d(256, EPSILON, MOMENTUM),
            nn.LeakyReLU(SLOPE),
            nn.Flatten(),
            nn.Linear(256 * 8 * 8, 1),
        )

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return logits float [B]."""
        maps = F.one_hot(labels, self.num_classes).to(x.dtype)[:, :, None, None].expand(-1, -1, *x.shape[2:])
        logits: torch.Tensor = self.layers(torch.cat([x, maps], dim=1))
        return logits.squeeze(1)
