"""The training step of CycleGAN (Zhu et al. 2017) and TL-S-CycleGAN in the published order of passes.

A step is a callable ``(step, *batch) -> losses by name``; the losses stay on the device. ``ReferenceStep`` updates the
generators, then D_a, then D_b, with one pass per batch. ``tlsgan.fast_step`` computes the same numbers, up to rounding,
in less time.
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
    """Update all four networks on the tensors of one ``Batch``; return detached scalars.

    ``step`` counts from 0; the R1 penalty is computed every few steps only.
    """

    def __call__(self, step: int, *batch: torch.Tensor) -> dict[str, torch.Tensor]:
        """Update all four networks; return the losses by name."""
        ...


class Batch(NamedTuple):
    """Real images of both domains, float [B, 3, H, W] in [-1, 1].

    ``labelled_*`` are float [B]: 1 if the class term may use an image's label, else 0. None: all labels are used.
    ``unlabelled``: real images of further patients, whose domain is not known; None: there are none.
    """

    real_a: torch.Tensor
    real_b: torch.Tensor
    labelled_a: torch.Tensor | None = None
    labelled_b: torch.Tensor | None = None
    unlabelled: torch.Tensor | None = None

    def of(self, side: str) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return the images of domain 'a' or 'b' and their label mask."""
        return (self.real_a, self.labelled_a) if side == "a" else (self.real_b, self.labelled_b)


@dataclass(frozen=True)
class Pools:
    """Image pools of fake_a and fake_b for the discriminators."""

    a: ImagePool
    b: ImagePool


@dataclass(frozen=True)
class TrainState:
    """Everything that a step updates: networks, optimisers and image pools."""

    nets: Networks
    optimisers: Optimisers
    pools: Pools


def optimizer_step(optimiser: torch.optim.Optimizer, config: CycleGANConfig) -> None:
    """Clip the computed gradients if the config asks for it, then update the weights."""
    penalties.clip(parameters_of(optimiser), config.clip_grad_norm)
    optimiser.step()


class ReferenceStep:
    """The published order: identity, translation, cycle, each in a separate pass; real and fake separate; float32.

    As published, the generators' backward pass also computes gradients of the discriminators; they are not used.
    """

    def __init__(self, train_state: TrainState, config: CycleGANConfig):
        self.nets, self.optimisers, self.pools = train_state.nets, train_state.optimisers, train_state.pools
        self.config = config
        self.augment = DiffAugment(config.augmentations)

    def __call__(self, step: int, *batch: torch.Tensor) -> dict[str, torch.Tensor]:
        """Update all four networks; return the losses by name."""
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
            idt_b, idt_a = nets.G_ab(real_b), nets.G_ba(real_a)
            terms["loss_identity_b"] = losses.identity(idt_b, real_b)
            terms["loss_identity_a"] = losses.identity(idt_a, real_a)
        fake_b, fake_a = nets.G_ab(real_a), nets.G_ba(real_b)
        terms |= losses.generator_terms(nets.D_b(self.augment(fake_b)), "ab", LABEL_B, config)
        terms |= losses.generator_terms(nets.D_a(self.augment(fake_a)), "ba", LABEL_A, config)
        rec_a, rec_b = nets.G_ba(fake_b), nets.G_ab(fake_a)
        terms["loss_cycle_a"] = losses.cycle(rec_a, real_a)
        terms["loss_cycle_b"] = losses.cycle(rec_b, real_b)
        total = losses.generators(terms, config)
        self.optimisers.G.zero_grad(set_to_none=True)
        total.backward()
        optimizer_step(self.optimisers.G, config)
        return {"loss_G": total, **terms}, fake_a.detach(), fake_b.detach()

    def _discriminator(self, side: str, batch: Batch, fake: torch.Tensor, penalise: bool) -> dict[str, torch.Tensor]:
        network, optimiser = self.nets.discriminator(side), self.optimisers.named()[f"D_{side}"]
        (real, labelled), (other, other_labelled) = batch.of(side), batch.of(OTHER[side])
        real, fake = self.augment(real), self.augment(fake)
        out_real, out_fake = network(real), network(fake)
        out_other = network(self.augment(other)) if self.config.class_on_both else None
        out_unlabelled = network(self.augment(batch.unlabelled)) if batch.unlabelled is not None else None
        rest = labelled, out_other, other_labelled, out_unlabelled
        loss = losses.discriminator(out_real, out_fake, LABELS[side], self.config, *rest)
        terms = {f"loss_D_{side}": loss, **losses.penalty(network, real, side, penalise, self.config)}
        optimiser.zero_grad(set_to_none=True)
        torch.stack(list(terms.values())).sum().backward()
        optimizer_step(optimiser, self.config)
        return terms
