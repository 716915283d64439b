"""The four networks of a CycleGAN (Zhu et al. 2017) and their three optimisers.

TL-S-CycleGAN uses the same structure with other discriminators.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from bench.types import Size
from tlsgan.config import CycleGANConfig, TranslatorConfig, check_image_size
from tlsgan.discriminators import Discriminator, build_discriminator
from tlsgan.generators import ResNetGenerator


@dataclass(frozen=True)
class Networks:
    """G_ab: A -> B, G_ba: B -> A; D_a and D_b are the discriminators of A and B."""

    G_ab: nn.Module
    G_ba: nn.Module
    D_a: Discriminator
    D_b: Discriminator

    def named(self) -> dict[str, nn.Module]:
        """Return the networks by name."""
        return {"G_ab": self.G_ab, "G_ba": self.G_ba, "D_a": self.D_a, "D_b": self.D_b}

    def discriminator(self, side: str) -> Discriminator:
        """Return the discriminator of domain 'a' or 'b'."""
        return self.D_a if side == "a" else self.D_b


@dataclass(frozen=True)
class Optimisers:
    """One Adam for both generators, one per discriminator."""

    G: torch.optim.Optimizer
    D_a: torch.optim.Optimizer
    D_b: torch.optim.Optimizer

    def named(self) -> dict[str, torch.optim.Optimizer]:
        """Return the optimisers by name."""
        return {"G": self.G, "D_a": self.D_a, "D_b": self.D_b}

    def set_learning_rates(self, generators: float, discriminators: float) -> None:
        """Set the learning rates; tensors are changed in place, because a recorded CUDA graph reads them."""
        for optimiser in self.named().values():
            rate = generators if optimiser is self.G else discriminators
            for group in optimiser.param_groups:
                if isinstance(group["lr"], torch.Tensor):
                    group["lr"].fill_(rate)
                else:
                    group["lr"] = rate


def parameters_of(optimiser: torch.optim.Optimizer) -> list[nn.Parameter]:
    """Return the parameters that an optimiser updates."""
    return [p for group in optimiser.param_groups for p in group["params"]]


def build_generator(config: TranslatorConfig) -> ResNetGenerator:
    """Build a generator with random weights from torch's global generator."""
    return ResNetGenerator(
        config.filters, config.blocks, config.norm, config.image_channels, config.upsample, config.residual
    )


def build_networks(config: CycleGANConfig, image_size_px: Size) -> Networks:
    """Build all four on the CPU. Raises ``ConfigError`` for an unsuitable size or unknown discriminator."""
    check_image_size(image_size_px)
    return Networks(
        build_generator(config),
        build_generator(config),
        build_discriminator(config, image_size_px),
        build_discriminator(config, image_size_px),
    )


def build_optimisers(nets: Networks, config: CycleGANConfig) -> Optimisers:
    """Build the optimisers: Adam (Kingma & Ba 2015) with the config's betas, with fused kernels for the fast step.

    They do not contain frozen weights.
    """

    def adam(*modules: nn.Module) -> torch.optim.Optimizer:
        parameters = [p for module in modules for p in module.parameters() if p.requires_grad]
        betas = (config.beta1, config.beta2)
        return torch.optim.Adam(parameters, lr=config.learning_rate, betas=betas, fused=config.step == "fast")

    return Optimisers(adam(nets.G_ab, nets.G_ba), adam(nets.D_a), adam(nets.D_b))


def learning_rates(step: int, config: CycleGANConfig) -> tuple[float, float]:
    """Return the learning rates of generators and discriminators at a step (from 0); separate: Heusel et al. 2017."""
    share = rate_share(step, config)
    return config.learning_rate * share, (config.disc_learning_rate or config.learning_rate) * share


def rate_share(step: int, config: TranslatorConfig) -> float:
    """Return the factor of the learning rates at a step (from 0).

    It is 1 for the share ``lr_decay_start`` of the steps, then falls linearly to 0 (Zhu et al. 2017).
    """
    start = config.lr_decay_start * config.steps
    return 1.0 if step < start else (config.steps - step) / (config.steps - start)
