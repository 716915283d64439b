"""What a training step is, and the published one: generators, then D_a, then D_b, every pass on its own.

A step is a callable ``(step, *batch) -> losses by name``; the losses stay on the device, unread. The published
order is that of ``ReferenceStep``; ``tlsgan.fast_step`` computes the same numbers, up to rounding, in less time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch

from tlsgan import losses, penalties, spectral_norm
from tlsgan.config import CycleGANConfig
from tlsgan.diffaug import DiffAugment
from tlsgan.image_pool import ImagePool
from tlsgan.networks import Networks, Optimisers, parameters_of

LABEL_A, LABEL_B = 0, 1  # domain A is the first class
LABELS, OTHER = {"a": LABEL_A, "b": LABEL_B}, {"a": "b", "b": "a"}


class TrainStep(Protocol):
    """Update all four networks on one ``Batch``, given as its tensors; return detached scalars.

    ``step`` counts from 0: what is done only every so often depends on it.
    """

    def __call__(self, step: int, *batch: torch.Tensor) -> dict[str, torch.Tensor]: ...


class Batch(NamedTuple):
    """Real images of both domains, float [B, 3, H, W] in [-1, 1].

    ``labelled_*`` are float [B], 1 where the class term may use an image's label, else 0; None: it may everywhere.
    """

    real_a: torch.Tensor
    real_b: torch.Tensor
    labelled_a: torch.Tensor | None = None
    labelled_b: torch.Tensor | None = None

    def of(self, side: str) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return images and labels of domain 'a' or 'b'."""
        return (self.real_a, self.labelled_a) if side == "a" else (self.real_b, self.labelled_b)


@dataclass(frozen=True)
class Pools:
    """What the discriminators remember of earlier translations."""

    a: ImagePool
    b: ImagePool


@dataclass(frozen=True)
class Team:
    """All that a step updates."""

    nets: Networks
    optimisers: Optimisers
    pools: Pools


def descend(optimiser: torch.optim.Optimizer, config: CycleGANConfig) -> None:
    """Take an optimiser's step on gradients that are there, clipped where the config says so."""
    penalties.clip(parameters_of(optimiser), config.clip_grad_norm)
    optimiser.step()


class ReferenceStep:
    """The published order: identity, translation, cycle; every pass on its own, real and fake apart; float32.

    As published, the generators' backward pass also leaves gradients with the discriminators, which these throw away.
    """

    def __init__(self, team: Team, config: CycleGANConfig):
        self.nets, self.optimisers, self.pools, self.config = team.nets, team.optimisers, team.pools, config
        self.augment = DiffAugment(config.augmentations)

    def __call__(self, step: int, *batch: torch.Tensor) -> dict[str, torch.Tensor]:
        real = Batch(*batch)
        penalise = penalties.r1_is_due(step, self.config.r1_gamma, self.config.r1_every)
        spectral_norm.advance((self.nets.D_a, self.nets.D_b))
        terms, fake_a, fake_b = self._generators(real.real_a, real.real_b)
        terms |= self._discriminator("a", real, self.pools.a.query(fake_a), penalise)
        terms |= self._discriminator("b", real, self.pools.b.query(fake_b), penalise)
        return {name: term.detach() for name, term in terms.items()}

    def _generators(
        self, real_a: torch.Tensor, real_b: torch.Tensor
    ) -> tuple[dict[str, torch.Tensor], torch.Tensor, torch.Tensor]:
        nets, config, terms = self.nets, self.config, dict[str, torch.Tensor]()
        if config.lambda_identity > 0:
            terms["loss_identity_b"] = losses.identity(nets.G_ab(real_b), real_b)
            terms["loss_identity_a"] = losses.identity(nets.G_ba(real_a), real_a)
        fake_b, fake_a = nets.G_ab(real_a), nets.G_ba(real_b)
        terms |= losses.critics(nets.D_b(self.augment(fake_b)), "ab", LABEL_B, config)
        terms |= losses.critics(nets.D_a(self.augment(fake_a)), "ba", LABEL_A, config)
        terms["loss_cycle_a"] = losses.cycle(nets.G_ba(fake_b), real_a)
        terms["loss_cycle_b"] = losses.cycle(nets.G_ab(fake_a), real_b)
        total = losses.generators(terms, config)
        self.optimisers.G.zero_grad(set_to_none=True)
        total.backward()
        descend(self.optimisers.G, config)
        return {"loss_G": total, **terms}, fake_a.detach(), fake_b.detach()

    def _discriminator(self, side: str, batch: Batch, fake: torch.Tensor, penalise: bool) -> dict[str, torch.Tensor]:
        network, optimiser = self.nets.discriminator(side), self.optimisers.named()[f"D_{side}"]
        (real, labelled), (other, other_labelled) = batch.of(side), batch.of(OTHER[side])
        real, fake = self.augment(real), self.augment(fake)
        of_real, of_fake = network(real), network(fake)
        of_other = network(self.augment(other)) if self.config.class_on_both else None
        known = labelled, of_other, other_labelled
        loss = losses.discriminator(of_real, of_fake, LABELS[side], self.config, *known)
        terms = {f"loss_D_{side}": loss, **losses.penalty(network, real, side, penalise, self.config)}
        optimiser.zero_grad(set_to_none=True)
        torch.stack(list(terms.values())).sum().backward()
        descend(optimiser, self.config)
        return terms
