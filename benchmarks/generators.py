"""Speed of ``projected_gan`` and ``flow_matching``: the arm against a straightforward loop, in one process.

    python benchmarks/generators.py --threads 2

The straightforward loop has the networks, losses and batches of the arm. It differs in these points: contiguous memory
in place of channels-last; Adam and the averaged weights one parameter after another; images are made one by one; in the
GAN, batch norms in the frozen features, and real and generated images in separate passes of the discriminator, whose
weight gradients are computed in the generator's phase too. Blocks of both loops alternate, every other turn in reverse
order, so that other load on the machine affects both. The ratio is the median over the turns. ``--profile`` adds the
operations that take most time.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import statistics
from collections.abc import Callable, Mapping
from typing import cast

import torch
import torch.nn.functional as F
from torch import nn

from baselines import flow_loop, gan_loop, gan_sampling, projected_networks
from baselines.flow_matching import FlowMatching
from baselines.flow_processes import RectifiedFlow
from baselines.gan_model import TrainingImages, TrainState
from baselines.pixels import to_float, to_uint8
from baselines.projected_gan import ProjectedGAN
from bench.forecast.step_profile import alternate
from bench.seeding import derive_seed
from bench.weights import LITE0, backbone_state_dict

IMAGES = 256  # random training images of two classes
Work = Callable[[], object]


class PlainGAN(ProjectedGAN):
    """The method in contiguous memory."""

    channels_last = False


def plain_adam(optimizer: torch.optim.Optimizer) -> torch.optim.Adam:
    """Return an optimiser of the same weights and settings that updates one parameter after another."""
    settings = {k: v for k, v in optimizer.defaults.items() if k in ("lr", "betas", "eps")}
    return torch.optim.Adam(optimizer.param_groups[0]["params"], **settings, foreach=False, fused=False)


@torch.no_grad()
def plain_average(mean: nn.Module, network: nn.Module, decay: float) -> None:
    """Average the weights by the formula."""
    for m, p in zip(mean.parameters(), network.parameters(), strict=True):
        m.copy_(decay * m + (1 - decay) * p)


def update(optimizer: torch.optim.Optimizer, loss: torch.Tensor) -> None:
    """Update the optimiser's weights by the gradient of the loss."""
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def plain_gan_step(gan: ProjectedGAN, state: TrainState, images: TrainingImages, step: int) -> None:
    """Update discriminator, generator and average on the batch of a step."""
    draw = torch.Generator().manual_seed(gan.seed("step", 0, step))
    batch = gan.batch(images, draw, 0, step)
    real = to_float(images.pixels[batch.chosen]).contiguous()
    fake = state.G(batch.z, batch.fake_labels)
    real_score = state.D(gan._augment(real), batch.real_labels)
    fake_score = state.D(gan._augment(fake.detach()), batch.fake_labels)
    update(state.optimizer_D, F.relu(1 - real_score).mean() + F.relu(1 + fake_score).mean())
    update(state.optimizer_G, -state.D(gan._augment(fake), batch.fake_labels).mean())
    assert state.G_mean is not None
    plain_average(state.G_mean, state.G, gan.decay(state, step))


def random_images(side_px: int) -> TrainingImages:
    """Return random images of two classes."""
    labels = torch.arange(IMAGES) % 2
    pixels = torch.randint(256, (IMAGES, side_px, side_px, 3), dtype=torch.uint8)
    return TrainingImages(pixels, labels, [(labels == label).nonzero().flatten() for label in (0, 1)])


def projected_gan(side_px: int) -> Mapping[str, Mapping[str, Work]]:
    """Return training step and sampling of a block of images, each as the arm and as a straightforward loop do it."""
    images, numbers = random_images(side_px), itertools.count()
    arm, plain = ProjectedGAN(ProjectedGAN.Config()), PlainGAN(ProjectedGAN.Config())
    states = [gan_loop.make_state(gan, 2, side_px, "cpu", 0) for gan in (arm, plain)]
    for gan, state in zip((arm, plain), states, strict=True):
        gan.load_pretrained(state.D, None)
    fast, slow = states
    slow.optimizer_G, slow.optimizer_D = plain_adam(slow.optimizer_G), plain_adam(slow.optimizer_D)
    network = projected_networks.feature_network()
    network.load_state_dict(backbone_state_dict(LITE0, None)[0], strict=False)
    cast(projected_networks.ProjectedDiscriminator, slow.D).projector.backbone = network.requires_grad_(False)
    steps = {
        "arm": lambda: gan_loop.train_step(arm, fast, images, 0, next(numbers)),
        "plain": lambda: plain_gan_step(plain, slow, images, next(numbers)),
    }
    block = gan_sampling.BLOCK
    z, labels = torch.randn(block, arm.config.z_dim), torch.zeros(block, dtype=torch.long)
    G, G_plain = (copy.deepcopy(state.G).eval() for state in states)

    @torch.no_grad()
    def one_by_one() -> None:
        for i in range(block):
            to_uint8(G_plain(z[i : i + 1], labels[i : i + 1]))

    samples = {"arm": lambda: gan_sampling.generated(G, z, labels, side_px), "plain": one_by_one}
    return {"training step": steps, f"{block} images": samples}


def flow_matching(side_px: int) -> Mapping[str, Mapping[str, Work]]:
    """Return training step and sampling of a block of images, each as the arm and as a straightforward loop do it."""
    process, config, numbers = RectifiedFlow(), FlowMatching.Config(), itertools.count()
    random = random_images(side_px)
    images = flow_loop.Images(random.pixels, random.by_class)
    fast, slow = (flow_loop.make_state(config, 2, side_px, 3, "cpu", 0) for _ in range(2))
    network = slow.network.to(memory_format=torch.contiguous_format)
    slow = flow_loop.State(network, copy.deepcopy(network).requires_grad_(False), plain_adam(slow.optimizer))

    def plain_step() -> None:
        step = next(numbers) % config.steps
        draw = torch.Generator().manual_seed(derive_seed("flow step", 0, step))
        labels = torch.randint(2, (config.batch_size,), generator=draw)
        places = torch.rand(config.batch_size, generator=draw, dtype=torch.float64)
        chosen = [images.by_class[int(c)][int(u * IMAGES / 2)] for c, u in zip(labels, places, strict=True)]
        real = to_float(images.pixels[torch.stack(chosen)]).contiguous()
        slow.optimizer.param_groups[0]["lr"] = flow_loop.learning_rate(config, step)
        update(slow.optimizer, process.loss(slow.network, real, labels, draw))
        plain_average(slow.mean, slow.network, min(config.ema, (1 + step) / (10 + step)))

    steps = {
        "arm": lambda: flow_loop.train_step(process, config, fast, images, 0, next(numbers) % config.steps),
        "plain": plain_step,
    }
    block = flow_loop.BLOCK
    noise, labels = torch.randn(block, 3, side_px, side_px), torch.zeros(block, dtype=torch.long)

    @torch.no_grad()
    def blockwise() -> None:
        to_uint8(process.sample(fast.mean, noise, labels, config.sample_steps))

    @torch.no_grad()
    def one_by_one() -> None:
        for i in range(block):
            to_uint8(process.sample(slow.mean, noise[i : i + 1], labels[i : i + 1], config.sample_steps))

    return {"training step": steps, f"{block} images": {"arm": blockwise, "plain": one_by_one}}


ARMS = {"projected_gan": projected_gan, "flow_matching": flow_matching}


def compared(name: str, what: str, work: Mapping[str, Work], blocks: int) -> str:
    """Return the line of one comparison: medians of both loops, and the ratio turn by turn with its quartiles."""
    seconds = alternate(work, "cpu", blocks)
    ratios = [slow / fast for slow, fast in zip(seconds["plain"], seconds["arm"], strict=True)]
    low, _, high = statistics.quantiles(ratios, n=4)
    fast, slow = (1000 * statistics.median(seconds[loop]) for loop in ("arm", "plain"))
    ratio = f"{statistics.median(ratios):.2f} [{low:.2f}, {high:.2f}]"
    return f"{name:14} {what:14} arm {fast:7.1f} ms   straightforward {slow:7.1f} ms   ratio {ratio}"


def most_time(work: Work, steps: int = 5) -> str:
    """Return a table of the operations that take most processor time, their own without that of those they call."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU]) as found:
        for _ in range(steps):
            work()
    return found.key_averages().table(sort_by="self_cpu_time_total", row_limit=12, max_name_column_width=40)


def main() -> None:
    """Print one line for each arm's training step and sampling."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arm", choices=ARMS, help="this one only")
    parser.add_argument("--size", type=int, default=64, help="side of the images in pixels")
    parser.add_argument("--threads", type=int, default=2, help="threads of the processor")
    parser.add_argument("--blocks", type=int, default=11, help="alternating blocks of each loop")
    parser.add_argument("--profile", action="store_true", help="the operations that take most time")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for name in [options.arm] if options.arm else ARMS:
        for what, work in ARMS[name](options.size).items():
            print(compared(name, what, work, options.blocks), flush=True)
            if options.profile:
                print(most_time(work["arm"]))


if __name__ == "__main__":
    main()
