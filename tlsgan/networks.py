"""The four networks of a CycleGAN and their three optimisers."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from tlsgan.config import CycleGANConfig, check_image_size
from tlsgan.discriminators import build_discriminator
from tlsgan.generators import ResNetGenerator


@dataclass(frozen=True)
class Networks:
    """G_ab: A -> B, G_ba: B -> A; D_a and D_b judge images of A and of B."""

    G_ab: nn.Module
    G_ba: nn.Module
    D_a: nn.Module
    D_b: nn.Module

    def named(self) -> dict[str, nn.Module]:
        """Return the networks by name."""
        return {"G_ab": self.G_ab, "G_ba": self.G_ba, "D_a": self.D_a, "D_b": self.D_b}


@dataclass(frozen=True)
class Optimisers:
    """One Adam for both generators, one for each discriminator."""

    G: torch.optim.Optimizer
    D_a: torch.optim.Optimizer
    D_b: torch.optim.Optimizer

    def named(self) -> dict[str, torch.optim.Optimizer]:
        """Return the optimisers by name."""
        return {"G": self.G, "D_a": self.D_a, "D_b": self.D_b}

    def set_learning_rate(self, rate: float) -> None:
        """Set the learning rate of all."""
        for optimiser in self.named().values():
            for group in optimiser.param_groups:
                group["lr"] = rate


def build_generator(config: CycleGANConfig) -> ResNetGenerator:
    """Build one generator from random weights drawn from torch's global generator."""
    return ResNetGenerator(config.filters, config.blocks, config.norm)


def build_networks(config: CycleGANConfig, image_size_px: int) -> Networks:
    """Build all four on the CPU. Raises ``ConfigError`` when the size or the discriminator's name does not serve."""
    check_image_size(image_size_px)
    return Networks(
        build_generator(config),
        build_generator(config),
        build_discriminator(config, image_size_px),
        build_discriminator(config, image_size_px),
    )


def build_optimisers(nets: Networks, config: CycleGANConfig) -> Optimisers:
    """Build the optimisers: Adam (Kingma & Ba 2015) with the config's rate and betas."""

    betas = (config.beta1, config.beta2)

    def adam(*modules: nn.Module) -> torch.optim.Optimizer:
        parameters = [p for module in modules for p in module.parameters()]
        return torch.optim.Adam(parameters, lr=config.learning_rate, betas=betas, fused=True)

    return Optimisers(adam(nets.G_ab, nets.G_ba), adam(nets.D_a), adam(nets.D_b))


def learning_rate(step: int, config: CycleGANConfig) -> float:
    """Return the rate of a step (from 0): constant, then, from a share ``lr_decay_start`` of the steps, linear to 0."""
    start = config.lr_decay_start * config.steps
    if step < start:
        return config.learning_rate
    return config.learning_rate * (config.steps - step) / (config.steps - start)
