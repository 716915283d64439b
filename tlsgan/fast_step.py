"""The same training step in less time: what ``ReferenceStep`` computes, up to rounding.

What is saved, and where it is exact:

- Translation and identity of a generator are one pass over both batches; both reconstructions stay as they are. Real
  images and translations are one pass through a discriminator. Batch norm mixes the images of a batch, so there passes
  stay apart, unless ``joint_batch_statistics`` says otherwise.
- A discriminator's graph of the translations is cut from the generator's. In the generators' phase only the gradient by
  the translations is asked of it, none by its weights; and where the discriminators' phase would see the very same
  images (no pool, no augmentation), its features are used again instead of being computed again.
- Dropout is drawn in the heads only (``TransferDiscriminator``), in the reference's order, whatever is batched before.
- A frozen backbone's batch norms do not mix the images, so its passes are batched.

Besides: fused Adam, the memory formats and layers of ``tlsgan.fast_layers``, bfloat16 on CUDA.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import nn

from tlsgan import losses, penalties, spectral_norm
from tlsgan.config import CycleGANConfig
from tlsgan.diffaug import DiffAugment
from tlsgan.networks import parameters_of
from tlsgan.step import LABEL_A, LABEL_B, LABELS, OTHER, Batch, Team, descend

Terms = dict[str, torch.Tensor]
Function = Callable[[torch.Tensor], torch.Tensor]


class Translations(NamedTuple):
    """Both batches of translations; and their features with the graph that made them, where these are used again."""

    fake_a: torch.Tensor
    fake_b: torch.Tensor
    known_a: torch.Tensor | None = None
    known_b: torch.Tensor | None = None


class FastStep:
    """The quick order of passes, some of them through ``compile_``.

    On CUDA all are, and discriminators' features are then computed again instead of remembered: a compiled pass cannot
    leave out the gradients that nobody asks for. On a CPU that costs more than compiling gains: generators alone are.
    """

    def __init__(
        self, team: Team, config: CycleGANConfig, device: str, compile_: Callable[[Function], Function] | None = None
    ):
        self.team, self.nets, self.optimisers, self.config = team, team.nets, team.optimisers, config
        self.device_type = torch.device(device).type
        self.augment = DiffAugment(config.augmentations)
        on_cuda = self.device_type == "cuda"
        self.remembers = config.pool_size == 0 and not self.augment and not (compile_ and on_cuda)
        wrap = compile_ or (lambda function: function)
        wrap_judge = wrap if on_cuda else (lambda function: function)
        self.passes: dict[str, Function] = {
            "G_ab": wrap(self.nets.G_ab),
            "G_ba": wrap(self.nets.G_ba),
            "D_a": wrap_judge(self.nets.D_a.features),
            "D_b": wrap_judge(self.nets.D_b.features),
        }
        named = self.nets.named()
        self.joint = {name: config.joint_batch_statistics or not batch_norms(net) for name, net in named.items()}
        self.norms = {name: batch_norms(named[name]) for name in ("D_a", "D_b")}

    def __call__(self, step: int, *batch: torch.Tensor) -> Terms:
        real = Batch(*batch)
        penalise = penalties.r1_is_due(step, self.config.r1_gamma, self.config.r1_every)
        terms, made = self.generators(real.real_a, real.real_b)
        pools = self.team.pools
        made = made._replace(fake_a=pools.a.query(made.fake_a), fake_b=pools.b.query(made.fake_b))
        return terms | self.discriminators(real, made, penalise)

    def generators(self, real_a: torch.Tensor, real_b: torch.Tensor) -> tuple[Terms, Translations]:
        """Update the generators (and the spectral norms' vectors, once a step)."""
        nets, config = self.nets, self.config
        spectral_norm.advance((nets.D_a, nets.D_b))
        with self._settings(), frozen((nets.D_a, nets.D_b), not self.remembers):
            fake_b, same_b = self._translate("G_ab", real_a, real_b)
            fake_a, same_a = self._translate("G_ba", real_b, real_a)
            seen_b, seen_a = fake_b.detach().requires_grad_(True), fake_a.detach().requires_grad_(True)
            known_b = self._first_look("D_b", self.augment(seen_b))
            judged = losses.critics(nets.D_b.heads(known_b), "ab", LABEL_B, config)
            known_a = self._first_look("D_a", self.augment(seen_a))
            judged |= losses.critics(nets.D_a.heads(known_a), "ba", LABEL_A, config)
            own = {
                "loss_cycle_a": losses.cycle(self.passes["G_ba"](fake_b), real_a),
                "loss_cycle_b": losses.cycle(self.passes["G_ab"](fake_a), real_b),
            }
            if same_a is not None and same_b is not None:
                own["loss_identity_a"] = losses.identity(same_a, real_a)
                own["loss_identity_b"] = losses.identity(same_b, real_b)
            criticism, rest = losses.generators(judged, config), losses.generators(own, config)
        pulls = torch.autograd.grad(criticism, (seen_b, seen_a), retain_graph=self.remembers)
        self.optimisers.G.zero_grad(set_to_none=True)
        torch.autograd.backward((rest, fake_b, fake_a), (None, *pulls))
        descend(self.optimisers.G, config)
        terms = {"loss_G": criticism + rest, **judged, **own}
        made = Translations(fake_a.detach(), fake_b.detach())
        made = made._replace(known_a=known_a, known_b=known_b) if self.remembers else made
        return {name: term.detach() for name, term in terms.items()}, made

    def discriminators(self, batch: Batch, made: Translations, penalise: bool) -> Terms:
        """Update both discriminators."""
        terms = self._discriminator("a", batch, made.fake_a, made.known_a, penalise)
        return terms | self._discriminator("b", batch, made.fake_b, made.known_b, penalise)

    def _discriminator(
        self, side: str, batch: Batch, fake: torch.Tensor, known: torch.Tensor | None, penalise: bool
    ) -> Terms:
        name, config = f"D_{side}", self.config
        network, optimiser = self.nets.discriminator(side), self.optimisers.named()[name]
        (real, labelled), (other, other_labelled) = batch.of(side), batch.of(OTHER[side])
        with self._settings():
            real, fake = self.augment(real), self.augment(fake)
            if known is None:
                of_real, of_fake = self._apart_or_joint(name, real, fake)
            else:
                with momenta(self.norms[name], between):
                    of_real, of_fake = self.passes[name](real), known
            verdicts = network.heads(of_real), network.heads(of_fake)
            of_other = network.heads(self.passes[name](self.augment(other))) if config.class_on_both else None
            loss = losses.discriminator(*verdicts, LABELS[side], config, labelled, of_other, other_labelled)
        terms = {f"loss_D_{side}": loss, **losses.penalty(network, real, side, penalise, config)}
        optimiser.zero_grad(set_to_none=True)
        torch.stack(list(terms.values())).sum().backward(inputs=parameters_of(optimiser))
        descend(optimiser, config)
        return {name: term.detach() for name, term in terms.items()}

    def _translate(
        self, name: str, source: torch.Tensor, target: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return the translation of ``source`` and, with an identity term, what is made of ``target``."""
        if self.config.lambda_identity == 0:
            return self.passes[name](source), None
        same, fake = self._apart_or_joint(name, target, source)
        return fake, same

    def _apart_or_joint(
        self, name: str, first: torch.Tensor, second: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        run = self.passes[name]
        if not self.joint[name]:
            return run(first), run(second)
        of_first, of_second = run(torch.cat((first, second))).split(len(first))
        return of_first, of_second

    def _first_look(self, name: str, fake: torch.Tensor) -> torch.Tensor:
        if not self.remembers:
            return self.passes[name](fake)
        with momenta(self.norms[name], once_for_twice):
            return self.passes[name](fake)

    @contextmanager
    def _settings(self) -> Iterator[None]:
        """On CUDA: bfloat16, which keeps float32's range, so that gradients need no scaling. Nothing on a CPU."""
        with torch.autocast(self.device_type, torch.bfloat16, enabled=self.config.amp and self.device_type == "cuda"):
            yield


@contextmanager
def frozen(networks: tuple[nn.Module, ...], really: bool) -> Iterator[None]:
    """Within the block no gradient by these networks' weights is prepared for."""
    weights = [p for network in networks for p in network.parameters() if p.requires_grad] if really else []
    for weight in weights:
        weight.requires_grad_(False)
    try:
        yield
    finally:
        for weight in weights:
            weight.requires_grad_(True)


# Batch norm's running statistics, when one pass over the translations stands for two. In the published order
# translations, real images and translations again pass with momentum m, which leaves (1 − m)³ of the old statistics,
# m (1 − m) of the real images' and m (1 − m)² + m of the translations'. The two momenta below leave the same.


def batch_norms(network: nn.Module) -> list[tuple[nn.modules.batchnorm._BatchNorm, float]]:
    """Return the batch norms of a network that mix the images of a batch, with their momenta; no frozen ones."""
    layers = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.training]
    return [(layer, layer.momentum) for layer in layers if layer.momentum is not None]


def once_for_twice(m: float) -> float:
    """Momentum of the translations, first and only."""
    return (m * (1 - m) ** 2 + m) / (1 - between(m))


def between(m: float) -> float:
    """Momentum of the real images, after them."""
    return m * (1 - m)


@contextmanager
def momenta(
    layers: list[tuple[nn.modules.batchnorm._BatchNorm, float]], changed: Callable[[float], float]
) -> Iterator[None]:
    """Within the block these layers' momenta are changed."""
    for layer, m in layers:
        layer.momentum = changed(m)
    try:
        yield
    finally:
        for layer, m in layers:
            layer.momentum = m
