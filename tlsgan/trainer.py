"""Training of CycleGAN (Zhu et al. 2017) and TL-S-CycleGAN: one loop, whatever the networks and the step."""

from __future__ import annotations

import torch

from bench.interfaces import RunContext
from bench.seeding import derive_seed
from bench.types import Uint8Images
from tlsgan import checkpoint
from tlsgan.config import CycleGANConfig
from tlsgan.data import UnpairedStream, to_device
from tlsgan.image_pool import ImagePool
from tlsgan.meter import LossMeter
from tlsgan.networks import Networks, build_optimisers, learning_rate
from tlsgan.samples import sample_grid
from tlsgan.step import Pools, ReferenceStep


def train(
    config: CycleGANConfig, nets: Networks, images_a: Uint8Images, images_b: Uint8Images, ctx: RunContext
) -> None:
    """Train ``nets`` in place on uint8 [N, H, W, 3] images of two domains, resuming from ``ctx.load_checkpoint()``.

    Losses are logged as means over ``log_every`` steps. Interrupted and resumed, a training on a CPU ends with the
    same bits as one that was not. Raises ``DivergedError`` when a loss is not finite.
    """
    with ctx.phase("data"):
        domain_a, domain_b = to_device(images_a, ctx.device), to_device(images_b, ctx.device)
    for net in nets.named().values():
        net.to(ctx.device).to(memory_format=torch.channels_last).train()  # measured: up to 2× for the backbones
    optimisers = build_optimisers(nets, config)
    pools = Pools(
        ImagePool(config.pool_size, derive_seed("tlsgan.pool", "a", ctx.seed)),
        ImagePool(config.pool_size, derive_seed("tlsgan.pool", "b", ctx.seed)),
    )
    seeds = derive_seed("tlsgan.order", "a", ctx.seed), derive_seed("tlsgan.order", "b", ctx.seed)
    stream = UnpairedStream(domain_a, domain_b, config.batch_size, config.flip, seeds)
    train_step = ReferenceStep(nets, optimisers, pools, config, ctx.device)
    meter, step = LossMeter(), 0

    saved = ctx.load_checkpoint()
    if saved is not None:
        step = checkpoint.restore(saved, nets, optimisers, pools, stream, meter, ctx.device)

    while step < config.steps:
        pause = next_pause(step, config)
        with ctx.phase("step"):
            while step < pause:
                optimisers.set_learning_rate(learning_rate(step, config))
                meter.add(train_step(*stream.next()))
                step += 1
            means = meter.means(step)  # waits for the device, so that the steps are timed where they are made

        last = step == config.steps
        if last or step % config.log_every == 0:
            ctx.log(step, config.steps, means)
            meter.reset()
        if last or step % config.sample_every == 0:
            with ctx.phase("sample"):
                ctx.save_images("translations", step, sample_grid(nets, domain_a, domain_b))
        if not last and step % config.checkpoint_every == 0:
            with ctx.phase("checkpoint"):
                ctx.save_checkpoint(checkpoint.collect(step, nets, optimisers, pools, stream, meter))


def next_pause(step: int, config: CycleGANConfig) -> int:
    """Return the next step after which losses are read, samples drawn, a checkpoint written, or all is done."""
    intervals = (config.log_every, config.sample_every, config.checkpoint_every)
    return min(config.steps, *((step // every + 1) * every for every in intervals))
