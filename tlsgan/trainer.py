"""Training loop of CycleGAN (Zhu et al. 2017) and TL-S-CycleGAN, for all networks and training steps."""

from __future__ import annotations

from typing import Any

import torch

from bench.interfaces import RunContext
from bench.seeding import derive_seed
from bench.types import Uint8Images
from tlsgan.accelerate import make_step
from tlsgan.checkpoint import Training, collect, restore
from tlsgan.config import CycleGANConfig
from tlsgan.data import UnpairedStream, WithUnlabelled, labelled_share, to_device
from tlsgan.ema import GeneratorAverage
from tlsgan.fast_layers import to_fast_layout
from tlsgan.image_pool import ImagePool
from tlsgan.meter import LossMeter, check_finite
from tlsgan.networks import Networks, build_optimisers, learning_rates
from tlsgan.samples import sample_grid
from tlsgan.step import Pools, TrainState


def train(
    config: CycleGANConfig,
    nets: Networks,
    images_a: Uint8Images,
    images_b: Uint8Images,
    ctx: RunContext,
    unlabelled: Uint8Images | None = None,
) -> dict[str, Any]:
    """Train ``nets`` in place on uint8 [N, H, W, 3] images of two domains, resuming from ``ctx.load_checkpoint()``.

    ``unlabelled`` are images of either domain, if ``config.unlabelled``. With ``ema_decay`` the generators end with
    averaged weights. Losses are logged as means over ``log_every`` steps. On a CPU, a training that was interrupted and
    resumed ends with the same bits as an uninterrupted one. Returns facts for the report: the number of steps and their
    run mode. Raises ``DivergedError`` when a loss is not finite.
    """
    with ctx.phase("data"):
        domain_a, domain_b = (to_device(x, ctx.device, config.image_channels) for x in (images_a, images_b))
    train_state = make_train_state(config, nets, ctx.device, ctx.seed)
    further = None if unlabelled is None else to_device(unlabelled, ctx.device, config.image_channels)
    stream = make_stream(config, (domain_a, domain_b), further, ctx.seed)
    average = GeneratorAverage(nets, config.ema_decay) if config.ema_decay else None
    meter, step = LossMeter(), 0
    training = Training(train_state, stream, meter, average)

    saved = ctx.load_checkpoint()
    if saved is not None:
        step = restore(saved, training, ctx.device)
    sampled = average or nets
    train_step, facts = make_step(train_state, config, ctx.device, images_a.shape[1:3], config.steps - step, ctx.cache)

    while step < config.steps:
        pause = next_pause(step, config)
        with ctx.phase("step"):
            while step < pause:
                train_state.optimisers.set_learning_rates(*learning_rates(step, config))
                losses = train_step(step, *stream.next())
                step += 1
                meter.add(losses, step)
                if average:
                    average.update(nets)
            means = meter.means()  # waits for the device, so that this phase contains the time of its steps

        last = step == config.steps
        if last or step % config.log_every == 0:
            ctx.log(step, config.steps, means)
            meter.reset()
        if last or step % config.sample_every == 0:
            with ctx.phase("sample"):
                ctx.save_images("translations", step, sample_grid(sampled.G_ab, sampled.G_ba, domain_a, domain_b))
        if not last and step % config.checkpoint_every == 0:
            with ctx.phase("checkpoint"):
                ctx.save_checkpoint(collect(step, training))

    if average:
        average.copy_to(nets)
    check_finite({name: net.parameters() for name, net in nets.named().items()}, step)
    return {"steps": config.steps, **facts}


def make_stream(
    config: CycleGANConfig, domains: tuple[torch.Tensor, torch.Tensor], further: torch.Tensor | None, seed: int
) -> UnpairedStream | WithUnlabelled:
    """Return the stream of batches of both domains, and of ``further`` images of unknown class if there are any."""
    seeds = derive_seed("tlsgan.order", "a", seed), derive_seed("tlsgan.order", "b", seed)
    pairs = UnpairedStream(*domains, config.batch_size, config.flip, seeds, labels(config, domains, seed))
    if further is None:
        return pairs
    return WithUnlabelled(pairs, further, derive_seed("tlsgan.order", "unlabelled", seed))


def make_train_state(config: CycleGANConfig, nets: Networks, device: str, seed: int) -> TrainState:
    """Move the networks to the device in the layout of the config's step; add optimisers and image pools."""
    for net in nets.named().values():
        net.train()
        if config.step == "fast":
            to_fast_layout(net, device)
        else:
            net.to(device)
    pools = (ImagePool(config.pool_size, derive_seed("tlsgan.pool", domain, seed)) for domain in "ab")
    return TrainState(nets, build_optimisers(nets, config), Pools(*pools))


def labels(
    config: CycleGANConfig, domains: tuple[torch.Tensor, torch.Tensor], seed: int
) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Return masks float [N] of the images in each domain with a label for the class loss; None: all have one.

    With unlabelled images a batch always has masks.
    """
    if config.label_fraction == 1 and not config.unlabelled:
        return None
    a, b = (
        labelled_share(len(images), config.label_fraction, derive_seed("tlsgan.labels", name, seed)).to(images.device)
        for name, images in zip("ab", domains, strict=True)
    )
    return a, b


def next_pause(step: int, config: CycleGANConfig) -> int:
    """Return the next step that ends with a log entry, a sample, a checkpoint or the end of the training."""
    intervals = (config.log_every, config.sample_every, config.checkpoint_every)
    return min(config.steps, *((step // every + 1) * every for every in intervals))
