"""Training of ``cut`` and ``fastcut`` (Park et al. 2020): two models, one for each direction, that share no weights.

Each random number derives from the seed and the step, so that a training resumes with the same bits.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from bench.interfaces import RunContext
from bench.seeding import derive_seed
from bench.types import ProfiledStep, Size, Uint8Images, height_width
from tlsgan import losses
from tlsgan.config import CUTConfig
from tlsgan.data import UnpairedStream, to_device
from tlsgan.diffaug import DiffAugment
from tlsgan.discriminators import PatchGAN
from tlsgan.fast_layers import to_fast_layout
from tlsgan.generators import ResNetGenerator
from tlsgan.meter import LossMeter, check_finite
from tlsgan.networks import build_generator, rate_share
from tlsgan.patch_nce import PatchProjection, channels_of, compared_layers, draw_places, encode, patch_nce, translate
from tlsgan.samples import sample_grid


@dataclass(frozen=True)
class Model:
    """One direction: generator, discriminator of the target class, a projection for each compared map, optimisers."""

    G: ResNetGenerator
    D: PatchGAN
    F: nn.ModuleList
    optimizer_G: torch.optim.Optimizer  # noqa: N815 (of G and F)
    optimizer_D: torch.optim.Optimizer  # noqa: N815

    def networks(self) -> tuple[nn.Module, ...]:
        """Return generator, discriminator and projections."""
        return self.G, self.D, self.F

    def state_dict(self) -> dict[str, Any]:
        """Return the states of networks and optimisers by name."""
        return {name: part.state_dict() for name, part in vars(self).items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load a saved state."""
        for name, part in vars(self).items():
            part.load_state_dict(state[name])


def train(config: CUTConfig, images_a: Uint8Images, images_b: Uint8Images, ctx: RunContext) -> tuple[Model, Model]:
    """Return the trained models from A to B and from B to A, resuming from ``ctx.load_checkpoint()``.

    Images are uint8 [N, H, W, 3]. Raises ``DivergedError`` when a loss is not finite.
    """
    with ctx.phase("data"):
        domain_a, domain_b = (to_device(x, ctx.device, config.image_channels) for x in (images_a, images_b))
    ab, ba = (build_model(config, ctx.device, derive_seed("cut init", way, ctx.seed)) for way in ("ab", "ba"))
    seeds = derive_seed("cut order", "a", ctx.seed), derive_seed("cut order", "b", ctx.seed)
    stream = UnpairedStream(domain_a, domain_b, config.batch_size, config.flip, seeds)
    meter, first, saved = LossMeter(), 0, ctx.load_checkpoint()
    if saved is not None:
        first = int(saved["step"])
        for part, name in ((ab, "ab"), (ba, "ba"), (stream, "stream")):
            part.load_state_dict(saved[name])
        meter.load_state_dict(saved["meter"], ctx.device)

    for step in range(first, config.steps):
        with ctx.phase("step"):
            real_a, real_b = stream.next()
            seed = derive_seed("cut step", ctx.seed, step)
            terms = train_step(config, ab, real_a, real_b, step, derive_seed("ab", seed))
            back = train_step(config, ba, real_b, real_a, step, derive_seed("ba", seed))
            meter.add({f"{n}_ab": x for n, x in terms.items()} | {f"{n}_ba": x for n, x in back.items()}, step + 1)
        done, last = step + 1, step + 1 == config.steps
        if last or done % config.log_every == 0:
            ctx.log(done, config.steps, meter.means())
            meter.reset()
        if last or done % config.sample_every == 0:
            with ctx.phase("sample"):
                ctx.save_images("translations", done, sample_grid(ab.G, ba.G, domain_a, domain_b))
        if not last and done % config.checkpoint_every == 0:
            with ctx.phase("checkpoint"):
                states = {name: part.state_dict() for name, part in (("ab", ab), ("ba", ba), ("stream", stream))}
                ctx.save_checkpoint({"step": done, "meter": meter.state_dict(), **states})
    check_finite({"G_ab": ab.G.parameters(), "G_ba": ba.G.parameters()}, config.steps)
    return ab, ba


def build_model(config: CUTConfig, device: str, seed: int) -> Model:
    """Return a model on the device, its weights drawn by the seed."""
    torch.manual_seed(seed)
    G = build_generator(config)
    D = PatchGAN(config.disc_filters, channels=config.image_channels)
    channels = channels_of(config.filters, config.blocks, config.image_channels)
    F = nn.ModuleList(PatchProjection(c, config.features) for c in channels)
    for network in (G, D, F):
        to_fast_layout(network, device).train()

    def adam(*networks: nn.Module) -> torch.optim.Optimizer:
        parameters = [p for network in networks for p in network.parameters()]
        return torch.optim.Adam(parameters, config.learning_rate, (config.beta1, config.beta2), fused=True)

    return Model(G, D, F, adam(G, F), adam(D))


def train_step(
    config: CUTConfig, model: Model, source: torch.Tensor, target: torch.Tensor, step: int, seed: int
) -> dict[str, torch.Tensor]:
    """Update the discriminator, then generator and projections; return the losses, detached scalars.

    Real images of the source and the target class are float [B, C, H, W] in [-1, 1]. The source's features come from
    the pass that translates it. Losses: least squares (Mao et al. 2017) + λ · PatchNCE (Park et al. 2020, equation 5);
    with ``identity_nce`` PatchNCE is the mean of the term of the source and that of the target.
    """
    torch.manual_seed(seed)  # of the augmentations, which draw from the global generators
    draw = torch.Generator().manual_seed(seed)
    for optimiser in (model.optimizer_G, model.optimizer_D):
        for group in optimiser.param_groups:
            group["lr"] = config.learning_rate * rate_share(step, config)
    layers, augment = compared_layers(config.blocks), DiffAugment(config.augmentations)
    mirrored = config.flip_equivariance and bool(torch.rand((), generator=draw) < 0.5)

    inputs = torch.cat([source, target]) if config.identity_nce else source
    made, keys = translate(model.G, inputs.flip(-1) if mirrored else inputs, layers)
    fake = made[: len(source)]

    loss_D = losses.least_squares(model.D(augment(target)).real, True)
    loss_D = (loss_D + losses.least_squares(model.D(augment(fake.detach())).real, False)) / 2
    _update(model.optimizer_D, loss_D)

    model.D.requires_grad_(False)
    loss_adv = losses.least_squares(model.D(augment(fake)).real, True)
    queries = encode(model.G, made, layers)
    if mirrored:
        queries = [x.flip(-1) for x in queries]
        with torch.no_grad():
            keys = encode(model.G, inputs, layers)
    loss_nce = _nce(config, model, queries, keys, draw)
    loss_G = loss_adv + config.lambda_nce * loss_nce
    _update(model.optimizer_G, loss_G)
    model.D.requires_grad_(True)
    return {"loss_G": loss_G.detach(), "loss_nce": loss_nce.detach(), "loss_D": loss_D.detach()}


def _nce(
    config: CUTConfig,
    model: Model,
    queries: Sequence[torch.Tensor],
    keys: Sequence[torch.Tensor],
    draw: torch.Generator,
) -> torch.Tensor:
    """Return PatchNCE, a mean over compared maps and images."""
    terms = [
        patch_nce(project(query, places), project(key.detach(), places), config.temperature)
        for project, query, key, places in zip(
            model.F, queries, keys, draw_places(queries, config.patches, draw), strict=True
        )
    ]
    return torch.stack(terms).mean()


def _update(optimiser: torch.optim.Optimizer, loss: torch.Tensor) -> None:
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    optimiser.step()


def profiled_step(config: CUTConfig, image_size_px: Size, device: str) -> ProfiledStep:
    """Return the training step of both models on random images; its duration does not depend on the images."""

    def build() -> Callable[[], object]:
        ab, ba = (build_model(config, device, seed) for seed in (0, 1))
        shape = (config.batch_size, config.image_channels, *height_width(image_size_px))
        real_a, real_b = (torch.rand(shape, device=device) * 2 - 1 for _ in "ab")
        numbers = itertools.count()

        def step() -> None:
            n = next(numbers) % config.steps
            train_step(config, ab, real_a, real_b, n, seed=n)
            train_step(config, ba, real_b, real_a, n, seed=n)

        return step

    return ProfiledStep(build, build)
