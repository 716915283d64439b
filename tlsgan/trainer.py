"""Training of CycleGAN (Zhu et al. 2017) and TL-S-CycleGAN: one loop, whatever the networks and the step."""

from __future__ import annotations

from typing import Any

import torch

from bench.interfaces import RunContext
from bench.seeding import derive_seed
from bench.types import Uint8Images
from tlsgan.accelerate import make_step
from tlsgan.checkpoint import Training, collect, restore
from tlsgan.config import CycleGANConfig
from tlsgan.data import UnpairedStream, labelled_share, to_device
from tlsgan.ema import GeneratorAverage
from tlsgan.fast_layers import quicken
from tlsgan.image_pool import ImagePool
from tlsgan.meter import LossMeter, check_finite
from tlsgan.networks import Networks, build_optimisers, learning_rates
from tlsgan.samples import sample_grid
from tlsgan.step import Pools, Team


def train(
    config: CycleGANConfig, nets: Networks, images_a: Uint8Images, images_b: Uint8Images, ctx: RunContext
) -> dict[str, Any]:
    """Train ``nets`` in place on uint8 [N, H, W, 3] images of two domains, resuming from ``ctx.load_checkpoint()``.

    With ``ema_decay`` the generators that are left are the averaged ones. Losses are logged as means over
    ``log_every`` steps. Interrupted and resumed, a training on a CPU ends with the same bits as one that was not.
    Returns facts for the report: how many steps, and how they were run. Raises ``DivergedError`` when a loss is not
    finite.
    """
    with ctx.phase("data"):
        domain_a, domain_b = to_device(images_a, ctx.device), to_device(images_b, ctx.device)
    team = make_team(config, nets, ctx.device, ctx.seed)
    seeds = derive_seed("tlsgan.order", "a", ctx.seed), derive_seed("tlsgan.order", "b", ctx.seed)
    known = labels(config, (domain_a, domain_b), ctx.seed)
    stream = UnpairedStream(domain_a, domain_b, config.batch_size, config.flip, seeds, known)
    average = GeneratorAverage(nets, config.ema_decay) if config.ema_decay else None
    meter, step = LossMeter(), 0
    training = Training(team, stream, meter, average)

    saved = ctx.load_checkpoint()
    if saved is not None:
        step = restore(saved, training, ctx.device)
    shown = average or nets
    train_step, facts = make_step(team, config, ctx.device, images_a.shape[1:3], config.steps - step, ctx.cache)

    while step < config.steps:
        pause = next_pause(step, config)
        with ctx.phase("step"):
            while step < pause:
                team.optimisers.set_learning_rates(*learning_rates(step, config))
                losses = train_step(step, *stream.next())
                step += 1
                meter.add(losses, step)
                if average:
                    average.update(nets)
            means = meter.means()  # waits for the device, so that the steps are timed where they are made

        last = step == config.steps
        if last or step % config.log_every == 0:
            ctx.log(step, config.steps, means)
            meter.reset()
        if last or step % config.sample_every == 0:
            with ctx.phase("sample"):
                ctx.save_images("translations", step, sample_grid(shown.G_ab, shown.G_ba, domain_a, domain_b))
        if not last and step % config.checkpoint_every == 0:
            with ctx.phase("checkpoint"):
                ctx.save_checkpoint(collect(step, training))

    if average:
        average.copy_to(nets)
    check_finite({name: net.parameters() for name, net in nets.named().items()}, step)
    return {"steps": config.steps, **facts}


def make_team(config: CycleGANConfig, nets: Networks, device: str, seed: int) -> Team:
    """Put the networks on the device, as the config's step wants them, and give them optimisers and pools."""
    for net in nets.named().values():
        net.train()
        if config.step == "fast":
            quicken(net, device)
        else:
            net.to(device)
    pools = (ImagePool(config.pool_size, derive_seed("tlsgan.pool", domain, seed)) for domain in "ab")
    return Team(nets, build_optimisers(nets, config), Pools(*pools))


def labels(
    config: CycleGANConfig, domains: tuple[torch.Tensor, torch.Tensor], seed: int
) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Return which images of each domain have a label for the class term; None: all."""
    if config.label_fraction == 1:
        return None
    a, b = (
        labelled_share(len(images), config.label_fraction, derive_seed("tlsgan.labels", name, seed)).to(images.device)
        for name, images in zip("ab", domains, strict=True)
    )
    return a, b


def next_pause(step: int, config: CycleGANConfig) -> int:
    """Return the next step after which losses are read, samples drawn, a checkpoint written, or all is done."""
    intervals = (config.log_every, config.sample_every, config.checkpoint_every)
    return min(config.steps, *((step // every + 1) * every for every in intervals))
