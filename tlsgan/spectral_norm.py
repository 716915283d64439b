"""Spectral normalisation (Miyato et al. 2018, "Spectral Normalization for Generative Adversarial Networks", eq. 8).

Difference from torch's implementation: that makes one power iteration per forward pass, so its weights depend on the
number of passes. Here a training step makes one iteration (algorithm 1 of the paper), and all its passes use the same
weights. The reference and the fast step, which differ in the number of passes, then train the same network.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

WARM_UP = 15  # iterations at the start, from random vectors


class SpectralNorm(nn.Module):
    """W / σ(W) for a convolution's weight [O, …], σ = uᵀ W v its largest singular value as a matrix [O, rest]."""

    def __init__(self, weight: torch.Tensor):
        super().__init__()
        self.u: torch.Tensor
        self.v: torch.Tensor
        rows, columns = weight.flatten(1).shape
        self.register_buffer("u", F.normalize(torch.randn(rows), dim=0))
        self.register_buffer("v", F.normalize(torch.randn(columns), dim=0))
        for _ in range(WARM_UP):
            self.advance(weight)

    @torch.no_grad()
    def advance(self, weight: torch.Tensor) -> None:
        """Make one power iteration for the leading singular vectors of the unnormalised weight."""
        matrix = weight.detach().flatten(1)
        self.v.copy_(F.normalize(matrix.T @ self.u, dim=0))
        self.u.copy_(F.normalize(matrix @ self.v, dim=0))

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        """Return the weight over its largest singular value, estimated by the stored vectors."""
        return weight / torch.dot(self.u, weight.flatten(1) @ self.v)


def normalise_spectrally(network: nn.Module) -> None:
    """Add spectral normalisation to every convolution of a network."""
    for module in [m for m in network.modules() if isinstance(m, nn.Conv2d)]:
        parametrize.register_parametrization(module, "weight", SpectralNorm(module.weight))


def advance(networks: Iterable[nn.Module]) -> None:
    """Make one power iteration in every normalised layer of the networks."""
    for network in networks:
        for module in network.modules():
            if isinstance(module, parametrize.ParametrizationList) and isinstance(module[0], SpectralNorm):
                module[0].advance(module.original)
