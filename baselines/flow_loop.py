"""Training and sampling of ``flow_matching`` and ``diffusion``.

A ``Process`` is what differs between them: the loss of a batch, and the way from noise to images. Each random number
derives from the seed and the step or the image.
"""

from __future__ import annotations

import copy
import itertools
import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from baselines.flow_config import FlowMatchingConfig
from baselines.flow_networks import VelocityUNet
from baselines.gan_loop import average, optimizer_step, parts, positions, replace_half, resume, with_unlabelled
from baselines.pixels import to_float, to_uint8
from bench.errors import DivergedError
from bench.interfaces import RunContext, TrainingData
from bench.seeding import derive_seed
from bench.types import ProfiledStep, SyntheticImage

BLOCK = 16  # images are made in full blocks of this size: an image must not depend on how many are asked for
GRID_IMAGES = 8  # per class
WARM_UP = 50  # steps in which the learning rate rises


class Process(Protocol):
    """How images become noise, and back."""

    name: str  # of the method, in errors
    logged: str  # name of the loss in the log

    def loss(
        self, network: nn.Module, images: torch.Tensor, labels: torch.Tensor, draw: torch.Generator
    ) -> torch.Tensor:
        """Return the loss of images float [B, C, S, S] in [-1, 1], a scalar; random numbers come from ``draw``."""
        ...

    def sample(self, network: nn.Module, noise: torch.Tensor, labels: torch.Tensor, steps: int) -> torch.Tensor:
        """Return images float [B, C, S, S], in [-1, 1] up to errors, from standard normal noise of that shape."""
        ...


@dataclass
class State:
    """What a checkpoint holds, apart from the number of finished steps; ``mean`` makes the images."""

    network: nn.Module
    mean: nn.Module
    optimizer: torch.optim.Optimizer


@dataclass(frozen=True)
class Images:
    """Training images uint8 [N, S, S, C] on the device, and the positions of each class, int64, on the CPU."""

    pixels: torch.Tensor
    by_class: list[torch.Tensor]
    unlabelled: torch.Tensor | None = None  # positions of images without labels


def train(process: Process, config: FlowMatchingConfig, data: TrainingData, ctx: RunContext, path: Path) -> None:
    """Train the network and write its average to ``path``. Raises ``DataError`` and ``DivergedError``."""
    channels = config.channels_of(data.grey)
    state = make_state(config, len(data.classes), data.image_size_px, channels, ctx.device, ctx.seed)
    parameters = sum(p.numel() for p in state.network.parameters())
    (ctx.folder / "facts.json").write_text(json.dumps({"parameters": parameters}) + "\n")
    with ctx.phase("data"):
        images = training_images(process, data, channels, ctx.device, config.unlabelled)
    losses: list[torch.Tensor] = []
    for step in range(resume(state, ctx), config.steps):
        with ctx.phase("step"):
            losses.append(train_step(process, config, state, images, ctx.seed, step))
        done, last = step + 1, step + 1 == config.steps
        if last or done % config.log_every == 0 or done % config.checkpoint_every == 0:
            ctx.log(done, config.steps, {process.logged: mean_loss(process, losses, done)})
            losses.clear()
        if last or done % config.sample_every == 0:
            with ctx.phase("sample"):
                save_grids(process, config, state.mean, data, channels, done, ctx)
        if not last and done % config.checkpoint_every == 0:
            with ctx.phase("checkpoint"):
                ctx.save_checkpoint({"step": done, **{name: part.state_dict() for name, part in parts(state).items()}})
    weights = {k: v.detach().cpu().contiguous() for k, v in state.mean.state_dict().items()}
    save_file(weights, path)


def train_step(
    process: Process, config: FlowMatchingConfig, state: State, images: Images, seed: int, step: int
) -> torch.Tensor:
    """Update the network and its average on the batch of a step; return the loss. Classes are drawn uniformly.

    If there are images without labels, these are half of the batch.
    """
    device, size = images.pixels.device, config.batch_size
    draw = torch.Generator().manual_seed(derive_seed("flow step", seed, step))
    labels = torch.randint(len(images.by_class), (size,), generator=draw)
    places = torch.rand(size, generator=draw, dtype=torch.float64)
    chosen = torch.stack(
        [images.by_class[int(c)][int(u * len(images.by_class[int(c)]))] for c, u in zip(labels, places, strict=True)]
    )
    if images.unlabelled is not None:
        chosen, labels = replace_half(chosen, labels, images.unlabelled, len(images.by_class), draw)
    real = to_float(images.pixels[chosen.to(device)])
    loss = process.loss(state.network, real, labels.to(device), draw)
    for group in state.optimizer.param_groups:
        group["lr"] = learning_rate(config, step)
    optimizer_step(state.optimizer, loss)
    average(state.mean, state.network, min(config.ema, (1 + step) / (10 + step)))
    return loss.detach()


def learning_rate(config: FlowMatchingConfig, step: int) -> float:
    """Return the rate of a step: a linear rise, then half a cosine to 0."""
    rise = min(1.0, (step + 1) / WARM_UP)
    return config.learning_rate * rise * 0.5 * (1 + math.cos(math.pi * step / config.steps))


def make_state(
    config: FlowMatchingConfig, num_classes: int, side_px: int, channels: int, device: str, seed: int
) -> State:
    """Return the network on the device, initialised by the seed, its average and its optimiser."""
    torch.manual_seed(derive_seed("flow init", seed))
    network: nn.Module = VelocityUNet(num_classes, side_px, config.filters, channels, config.unlabelled)
    network = network.to(device).to(memory_format=torch.channels_last)
    mean = copy.deepcopy(network).requires_grad_(False)
    return State(network, mean, torch.optim.Adam(network.parameters(), config.learning_rate, fused=True))


def training_images(
    process: Process, data: TrainingData, channels: int, device: str, unlabelled: bool = False
) -> Images:
    """Return the training images, and with ``unlabelled`` those without labels.

    Raises ``DataError`` for a class without images, ``ConfigError`` if there are no unlabelled ones.
    """
    _, by_class = positions(process.name, data)
    pixels, without = data.images(), None
    if unlabelled:
        pixels, without = with_unlabelled(process.name, data, pixels)
    return Images(torch.tensor(pixels[..., :channels].copy(), device=device), by_class, without)


def mean_loss(process: Process, losses: list[torch.Tensor], step: int) -> float:
    """Return the mean loss of the last steps. Raises ``DivergedError`` with the step."""
    values = torch.stack(losses).cpu()
    bad = (~torch.isfinite(values)).nonzero()
    if len(bad):
        at = step - len(losses) + 1 + int(bad[0])
        raise DivergedError(f"{process.name}: the loss is {float(values[bad[0]])} at step {at}; lower learning_rate")
    return float(values.mean())


class Sampler(nn.Module):
    """The trained network with its steps of sampling: noise float [B, C, S, S], labels int64 [B] -> images."""

    def __init__(self, process: Process, network: nn.Module, steps: int) -> None:
        super().__init__()
        self.process, self.network, self.steps = process, network, steps

    def forward(self, noise: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return images float [B, C, S, S] in [-1, 1]."""
        return self.process.sample(self.network, noise, labels, self.steps)


def load_network(config: FlowMatchingConfig, data: TrainingData, weights: Path) -> nn.Module:
    """Return the trained network, on the CPU and in evaluation mode."""
    network = VelocityUNet(
        len(data.classes), data.image_size_px, config.filters, config.channels_of(data.grey), config.unlabelled
    )
    network.load_state_dict(load_file(weights))
    return network.eval()


@torch.no_grad()
def save_grids(
    process: Process,
    config: FlowMatchingConfig,
    network: nn.Module,
    data: TrainingData,
    channels: int,
    step: int,
    ctx: RunContext,
) -> None:
    """Keep one sample grid per class, from the same noise at every step and for every class."""
    draw = torch.Generator().manual_seed(derive_seed("flow grid", ctx.seed))
    noise = torch.randn(GRID_IMAGES, channels, data.image_size_px, data.image_size_px, generator=draw).to(ctx.device)
    for label in range(len(data.classes)):
        labels = torch.full((GRID_IMAGES,), label, device=ctx.device)
        images = process.sample(network, noise, labels, config.sample_steps)
        ctx.save_images(f"class_{label}", step, to_uint8(images))


def synthesize(
    process: Process,
    config: FlowMatchingConfig,
    data: TrainingData,
    counts: Mapping[int, int],
    weights: Path,
    ctx: RunContext,
) -> Iterator[SyntheticImage]:
    """Yield images by label; image i of a label depends on (ctx.seed, label, i) and the weights only."""
    channels, side = config.channels_of(data.grey), data.image_size_px
    network = load_network(config, data, weights)
    network.to(ctx.device).to(memory_format=torch.channels_last)
    for label, count in sorted(counts.items()):
        for start in range(0, count, BLOCK):
            seeds = [derive_seed("flow sample", ctx.seed, label, start + i) for i in range(BLOCK)]
            draws = [torch.Generator().manual_seed(s) for s in seeds]
            noise = torch.stack([torch.randn(channels, side, side, generator=d) for d in draws]).to(ctx.device)
            labels = torch.full((BLOCK,), label, device=ctx.device)
            with ctx.phase("sample"), torch.no_grad():
                images = to_uint8(process.sample(network, noise, labels, config.sample_steps))
            for image, seed in list(zip(images, seeds, strict=True))[: count - start]:
                yield SyntheticImage(image, label, seed)


def profiled_step(process: Process, config: FlowMatchingConfig, side_px: int, device: str) -> ProfiledStep:
    """Return the training step on random images of two classes; its duration does not depend on the images."""

    def build() -> Callable[[], object]:
        channels = config.channels_of(grey=False)
        state = make_state(config, 2, side_px, channels, device, seed=0)
        shape = (2 * config.batch_size, side_px, side_px, channels)
        labels = torch.arange(shape[0]) % 2
        pixels = torch.randint(256, shape, dtype=torch.uint8, device=device)
        images = Images(pixels, [(labels == label).nonzero().flatten() for label in (0, 1)])
        steps = itertools.count()
        return lambda: train_step(process, config, state, images, 0, next(steps) % config.steps)

    return ProfiledStep(build, build)
