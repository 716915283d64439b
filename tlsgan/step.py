"""One training step: generators, then D_a, then D_b, in the published order of passes.

A step is a callable ``(real_a, real_b) -> losses by name``; the losses stay on the device, unread.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import nn

from tlsgan import losses
from tlsgan.config import CycleGANConfig
from tlsgan.image_pool import ImagePool
from tlsgan.networks import Networks, Optimisers

LABEL_A, LABEL_B = 0, 1  # domain A is the first class


class TrainStep(Protocol):
    """Update all four networks on one pair of batches, float [B, 3, H, W] in [-1, 1]; return detached scalars."""

    def __call__(self, real_a: torch.Tensor, real_b: torch.Tensor) -> dict[str, torch.Tensor]: ...


@dataclass(frozen=True)
class Pools:
    """What the discriminators remember of earlier translations."""

    a: ImagePool
    b: ImagePool


class ReferenceStep:
    """The published order: identity, translation, cycle; every pass on its own, real and fake apart."""

    def __init__(self, nets: Networks, optimisers: Optimisers, pools: Pools, config: CycleGANConfig, device: str):
        self.nets, self.optimisers, self.pools, self.config = nets, optimisers, pools, config
        self.device_type = torch.device(device).type

    def __call__(self, real_a: torch.Tensor, real_b: torch.Tensor) -> dict[str, torch.Tensor]:
        terms, fake_a, fake_b = self._generators(real_a, real_b)
        terms["loss_D_a"] = self._discriminator(
            self.nets.D_a, self.optimisers.D_a, real_a, self.pools.a.query(fake_a), LABEL_A
        )
        terms["loss_D_b"] = self._discriminator(
            self.nets.D_b, self.optimisers.D_b, real_b, self.pools.b.query(fake_b), LABEL_B
        )
        return {name: term.detach() for name, term in terms.items()}

    def _generators(
        self, real_a: torch.Tensor, real_b: torch.Tensor
    ) -> tuple[dict[str, torch.Tensor], torch.Tensor, torch.Tensor]:
        nets, config, terms = self.nets, self.config, dict[str, torch.Tensor]()
        _set_trainable((nets.D_a, nets.D_b), False)  # they pass gradients on and need none of their own here
        with self._autocast():
            if config.lambda_identity > 0:
                terms["loss_identity_b"] = losses.identity(nets.G_ab(real_b), real_b)
                terms["loss_identity_a"] = losses.identity(nets.G_ba(real_a), real_a)
            fake_b, fake_a = nets.G_ab(real_a), nets.G_ba(real_b)
            verdict_b, verdict_a = nets.D_b(fake_b), nets.D_a(fake_a)
            terms["loss_adv_ab"] = losses.least_squares(verdict_b.real, True)
            terms["loss_adv_ba"] = losses.least_squares(verdict_a.real, True)
            if config.lambda_class > 0:
                terms["loss_class_ab"] = losses.classification(verdict_b.classes, LABEL_B)
                terms["loss_class_ba"] = losses.classification(verdict_a.classes, LABEL_A)
            terms["loss_cycle_a"] = losses.cycle(nets.G_ba(fake_b), real_a)
            terms["loss_cycle_b"] = losses.cycle(nets.G_ab(fake_a), real_b)
            total = losses.generators(terms, config)
        self.optimisers.G.zero_grad(set_to_none=True)
        total.backward()
        self.optimisers.G.step()
        return {"loss_G": total, **terms}, fake_a.detach(), fake_b.detach()

    def _discriminator(
        self, network: nn.Module, optimiser: torch.optim.Optimizer, real: torch.Tensor, fake: torch.Tensor, label: int
    ) -> torch.Tensor:
        _set_trainable((network,), True)
        with self._autocast():
            loss = losses.discriminator(network(real), network(fake), label, self.config.lambda_class)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        return loss

    def _autocast(self) -> torch.autocast:
        # bfloat16 keeps float32's range, so gradients need no scaling; never on a CPU, where it is slower
        enabled = self.config.amp and self.device_type == "cuda"
        return torch.autocast(self.device_type, dtype=torch.bfloat16, enabled=enabled)


def _set_trainable(networks: Iterable[nn.Module], trainable: bool) -> None:
    for network in networks:
        network.requires_grad_(trainable)
