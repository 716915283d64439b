"""The same training step in less time: it computes what ``ReferenceStep`` computes, up to rounding.

Training of CycleGAN (Zhu et al. 2017) and TL-S-CycleGAN. Changes to the published order of passes:

- A generator translates and computes the identity images in one pass over both batches; the two reconstructions are
  separate passes. A discriminator processes real images and translations in one pass. Batch norm mixes the images of a
  batch, so networks with batch norm make separate passes, unless ``joint_batch_statistics`` is set.
- The discriminator's graph of the translations is detached from the generator's. In the generators' phase only the
  gradient with respect to the translations is computed, none with respect to the discriminator's weights. If the
  discriminators' phase sees the same images (no pool, no augmentation), it reuses the discriminator features.
- Dropout occurs in the heads only (``TransferDiscriminator``). Its masks are drawn in the reference's order.
- Frozen batch norms do not mix images, so passes of a frozen backbone are joined.

Also used: fused Adam, the memory formats and layers of ``tlsgan.fast_layers``, bfloat16 on CUDA.
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
from tlsgan.step import LABEL_A, LABEL_B, LABELS, OTHER, Batch, TrainState, optimizer_step

Terms = dict[str, torch.Tensor]
Function = Callable[[torch.Tensor], torch.Tensor]


class Translations(NamedTuple):
    """Translations, float [B, 3, H, W]; with their discriminator features and graph if these are reused, else None."""

    fake_a: torch.Tensor
    fake_b: torch.Tensor
    features_a: torch.Tensor | None = None
    features_b: torch.Tensor | None = None


class FastStep:
    """The fast order of passes, some of them compiled by ``compile_``.

    On CUDA all passes are compiled. Discriminator features are then computed twice, because a compiled pass cannot
    omit gradients that are not needed. On a CPU that costs more than compilation saves, so only the generators are
    compiled.
    """

    def __init__(
        self,
        train_state: TrainState,
        config: CycleGANConfig,
        device: str,
        compile_: Callable[[Function], Function] | None = None,
    ):
        self.train_state, self.config = train_state, config
        self.nets, self.optimisers = train_state.nets, train_state.optimisers
        self.device_type = torch.device(device).type
        self.augment = DiffAugment(config.augmentations)
        on_cuda = self.device_type == "cuda"
        self.reuses_features = config.pool_size == 0 and not self.augment and not (compile_ and on_cuda)
        wrap = compile_ or (lambda function: function)
        wrap_discriminator = wrap if on_cuda else (lambda function: function)
        self.passes: dict[str, Function] = {
            "G_ab": wrap(self.nets.G_ab),
            "G_ba": wrap(self.nets.G_ba),
            "D_a": wrap_discriminator(self.nets.D_a.features),
            "D_b": wrap_discriminator(self.nets.D_b.features),
        }
        named = self.nets.named()
        self.joint = {name: config.joint_batch_statistics or not batch_norms(net) for name, net in named.items()}
        self.norms = {name: batch_norms(named[name]) for name in ("D_a", "D_b")}

    def __call__(self, step: int, *batch: torch.Tensor) -> Terms:
        """Update all four networks; return the losses by name."""
        real = Batch(*batch)
        penalise = penalties.r1_is_due(step, self.config.r1_gamma, self.config.r1_every)
        terms, fakes = self.generators(real.real_a, real.real_b)
        pools = self.train_state.pools
        fakes = fakes._replace(fake_a=pools.a.query(fakes.fake_a), fake_b=pools.b.query(fakes.fake_b))
        return terms | self.discriminators(real, fakes, penalise)

    def generators(self, real_a: torch.Tensor, real_b: torch.Tensor) -> tuple[Terms, Translations]:
        """Update the generators and the vectors of spectral norm; return the losses and the detached translations."""
        nets, config = self.nets, self.config
        spectral_norm.advance((nets.D_a, nets.D_b))
        with self._settings(), without_weight_gradients((nets.D_a, nets.D_b), not self.reuses_features):
            fake_b, idt_b = self._translate("G_ab", real_a, real_b)
            fake_a, idt_a = self._translate("G_ba", real_b, real_a)
            input_b, input_a = fake_b.detach().requires_grad_(True), fake_a.detach().requires_grad_(True)
            features_b = self._discriminator_features("D_b", self.augment(input_b))
            adversarial = losses.generator_terms(nets.D_b.heads(features_b), "ab", LABEL_B, config)
            features_a = self._discriminator_features("D_a", self.augment(input_a))
            adversarial |= losses.generator_terms(nets.D_a.heads(features_a), "ba", LABEL_A, config)
            reconstruction = {
                "loss_cycle_a": losses.cycle(self.passes["G_ba"](fake_b), real_a),
                "loss_cycle_b": losses.cycle(self.passes["G_ab"](fake_a), real_b),
            }
            if idt_a is not None and idt_b is not None:
                reconstruction["loss_identity_a"] = losses.identity(idt_a, real_a)
                reconstruction["loss_identity_b"] = losses.identity(idt_b, real_b)
            adversarial_loss = losses.generators(adversarial, config)
            reconstruction_loss = losses.generators(reconstruction, config)
        gradients = torch.autograd.grad(adversarial_loss, (input_b, input_a), retain_graph=self.reuses_features)
        self.optimisers.G.zero_grad(set_to_none=True)
        torch.autograd.backward((reconstruction_loss, fake_b, fake_a), (None, *gradients))
        optimizer_step(self.optimisers.G, config)
        terms = {"loss_G": adversarial_loss + reconstruction_loss, **adversarial, **reconstruction}
        fakes = Translations(fake_a.detach(), fake_b.detach())
        if self.reuses_features:
            fakes = fakes._replace(features_a=features_a, features_b=features_b)
        return {name: term.detach() for name, term in terms.items()}, fakes

    def discriminators(self, batch: Batch, fakes: Translations, penalise: bool) -> Terms:
        """Update both discriminators; ``penalise``: with the R1 penalty. Return their losses."""
        terms = self._discriminator("a", batch, fakes.fake_a, fakes.features_a, penalise)
        return terms | self._discriminator("b", batch, fakes.fake_b, fakes.features_b, penalise)

    def _discriminator(
        self, side: str, batch: Batch, fake: torch.Tensor, features: torch.Tensor | None, penalise: bool
    ) -> Terms:
        name, config = f"D_{side}", self.config
        network, optimiser = self.nets.discriminator(side), self.optimisers.named()[name]
        (real, labelled), (other, other_labelled) = batch.of(side), batch.of(OTHER[side])
        with self._settings():
            real, fake = self.augment(real), self.augment(fake)
            if features is None:
                features_real, features_fake = self._joint_or_separate(name, real, fake)
            else:
                with momenta(self.norms[name], momentum_of_real):
                    features_real, features_fake = self.passes[name](real), features
            out_real, out_fake = network.heads(features_real), network.heads(features_fake)
            out_other = network.heads(self.passes[name](self.augment(other))) if config.class_on_both else None
            out_unlabelled = None
            if batch.unlabelled is not None:
                out_unlabelled = network.heads(self.passes[name](self.augment(batch.unlabelled)))
            rest = labelled, out_other, other_labelled, out_unlabelled
            loss = losses.discriminator(out_real, out_fake, LABELS[side], config, *rest)
        terms = {f"loss_D_{side}": loss, **losses.penalty(network, real, side, penalise, config)}
        optimiser.zero_grad(set_to_none=True)
        torch.stack(list(terms.values())).sum().backward(inputs=parameters_of(optimiser))
        optimizer_step(optimiser, config)
        return {name: term.detach() for name, term in terms.items()}

    def _translate(
        self, name: str, source: torch.Tensor, target: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return the translation of ``source``, and the identity image of ``target`` (None without identity term)."""
        if self.config.lambda_identity == 0:
            return self.passes[name](source), None
        idt, fake = self._joint_or_separate(name, target, source)
        return fake, idt

    def _joint_or_separate(
        self, name: str, first: torch.Tensor, second: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        run = self.passes[name]
        if not self.joint[name]:
            return run(first), run(second)
        out_first, out_second = run(torch.cat((first, second))).split(len(first))
        return out_first, out_second

    def _discriminator_features(self, name: str, fake: torch.Tensor) -> torch.Tensor:
        if not self.reuses_features:
            return self.passes[name](fake)
        with momenta(self.norms[name], momentum_of_fake):
            return self.passes[name](fake)

    @contextmanager
    def _settings(self) -> Iterator[None]:
        """Autocast to bfloat16 on CUDA; it has float32's range, so gradients need no scaling. No effect on a CPU."""
        with torch.autocast(self.device_type, torch.bfloat16, enabled=self.config.amp and self.device_type == "cuda"):
            yield


@contextmanager
def without_weight_gradients(networks: tuple[nn.Module, ...], enabled: bool) -> Iterator[None]:
    """Within the block, if ``enabled``, passes record no gradients with respect to these networks' weights."""
    weights = [p for network in networks for p in network.parameters() if p.requires_grad] if enabled else []
    for weight in weights:
        weight.requires_grad_(False)
    try:
        yield
    finally:
        for weight in weights:
            weight.requires_grad_(True)


# Running statistics of batch norm when one pass over the translations replaces two. The published order passes
# translations, real images and translations again with momentum m. The weights in the result are then (1 − m)³ for the
# old statistics, m (1 − m) for the real images and m (1 − m)² + m for the translations. The two momenta below give the
# same weights.


def batch_norms(network: nn.Module) -> list[tuple[nn.modules.batchnorm._BatchNorm, float]]:
    """Return the batch norms of a network in training mode, with their momenta; frozen ones are left out."""
    layers = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.training]
    return [(layer, layer.momentum) for layer in layers if layer.momentum is not None]


def momentum_of_fake(m: float) -> float:
    """Return the momentum of the single pass over the translations, which comes first."""
    return (m * (1 - m) ** 2 + m) / (1 - momentum_of_real(m))


def momentum_of_real(m: float) -> float:
    """Return the momentum of the pass over the real images, which comes second."""
    return m * (1 - m)


@contextmanager
def momenta(
    layers: list[tuple[nn.modules.batchnorm._BatchNorm, float]], changed: Callable[[float], float]
) -> Iterator[None]:
    """Within the block these layers have the momenta ``changed(m)``."""
    for layer, m in layers:
        layer.momentum = changed(m)
    try:
        yield
    finally:
        for layer, m in layers:
            layer.momentum = m
