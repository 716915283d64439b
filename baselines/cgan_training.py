"""The training loop of the conditional GAN. Every random choice derives from (seed, step), so it resumes exactly."""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import nn

from baselines.cgan_networks import Discriminator, Generator
from baselines.cgan_progressive import Growth, ProgressiveDiscriminator, ProgressiveGenerator, at_growth, growth
from baselines.gan_loop import mean_losses, resume
from baselines.pixels import to_float, to_uint8
from bench.errors import DataError
from bench.interfaces import RunContext, TrainingData
from bench.seeding import derive_seed
from bench.types import ProfiledStep

if TYPE_CHECKING:
    from baselines.cgan import ConditionalGANConfig

LOG_EVERY = 10  # steps
CALIBRATION_BATCHES = 16
JUDGED_IMAGES = 256  # at most, for FID and KID during training
BATCH = 32  # images generated at a time to be judged
AnyGenerator = Generator | ProgressiveGenerator
AnyDiscriminator = Discriminator | ProgressiveDiscriminator


def train(data: TrainingData, config: ConditionalGANConfig, ctx: RunContext) -> AnyGenerator:
    """Return the averaged generator, ready to sample from. Raises ``DataError`` and ``DivergedError``."""
    with ctx.phase("data"):
        images = torch.tensor(np.ascontiguousarray(data.images()), device=ctx.device)
        by_class = _positions_by_class(data)
    parts = make_parts(len(data.classes), data.image_size_px, config, ctx.device, ctx.seed)
    G_mean: AnyGenerator = parts["G_mean"]
    parameters = sum(p.numel() for name in "GD" for p in parts[name].parameters())
    (ctx.folder / "facts.json").write_text(json.dumps({"parameters": parameters}) + "\n")
    start = resume(parts, ctx)
    losses: list[torch.Tensor] = []

    for step in range(start, config.steps):
        with ctx.phase("step"):
            losses.append(train_step(parts, images, by_class, config, ctx.seed, step))

        done, last = step + 1, step + 1 == config.steps
        checkpoint = not last and done % config.checkpoint_every == 0
        if last or checkpoint or done % LOG_EVERY == 0:
            ctx.log(done, config.steps, mean_losses("cgan", losses, done))
            losses.clear()
        if last or done % config.sample_every == 0:
            with ctx.phase("sample"):
                calibrate(G_mean, len(data.classes), config, ctx)
                _save_samples(G_mean, data, done, ctx)
        if config.fid_every and (last or done % config.fid_every == 0):
            with ctx.phase("sample"):
                calibrate(G_mean, len(data.classes), config, ctx)
                made, labels = _to_be_judged(G_mean, data, ctx)
            scores = ctx.fidelity(made, labels)
            ctx.log(done, config.steps, {f"fidelity/{name}": value for name, value in scores.items()})
        if checkpoint:
            with ctx.phase("checkpoint"):
                ctx.save_checkpoint({"step": done, **{name: part.state_dict() for name, part in parts.items()}})
    return G_mean


def make_parts(
    num_classes: int, image_size_px: int, config: ConditionalGANConfig, device: str, seed: int
) -> dict[str, Any]:
    """Return the networks on the device, the averaged generator and the optimisers: all that a checkpoint holds."""
    torch.manual_seed(derive_seed("cgan init", seed))
    G, D = build(num_classes, image_size_px, config)
    for network in (G, D):
        network.to(device).to(memory_format=torch.channels_last)
    G_mean = copy.deepcopy(G)
    optimizer_G = torch.optim.Adam(G.parameters(), lr=config.learning_rate, betas=(config.beta1, config.beta2))
    optimizer_D = torch.optim.Adam(
        D.parameters(), lr=config.discriminator_learning_rate, betas=(config.beta1, config.beta2)
    )
    return {"G": G, "D": D, "G_mean": G_mean, "optimizer_G": optimizer_G, "optimizer_D": optimizer_D}


def train_step(
    parts: dict[str, Any], images: torch.Tensor, by_class: list[torch.Tensor], config: ConditionalGANConfig,
    seed: int, step: int,
) -> torch.Tensor:  # fmt: skip
    """Update the discriminator, the generator and its average on a batch of ``images`` uint8 [N, H, W, 3].

    Returns the losses of both and the mean scores of real and generated images, float [4], unread on the device.
    """
    G, D, optimizer_G, optimizer_D = (parts[name] for name in ("G", "D", "optimizer_G", "optimizer_D"))
    at = grow(parts, config, step)
    draw = torch.Generator().manual_seed(derive_seed("cgan step", seed, step))
    labels, chosen = _balanced_batch(by_class, config.batch_size, draw)
    labels, real = labels.to(images.device), to_float(images[chosen.to(images.device)])
    if at:
        real = at_growth(real, at, G.levels)
    z = torch.randn(config.batch_size, config.z_dim, generator=draw).to(images.device)
    G.train()
    fake = G(z, labels)

    score_real, score_fake = D(torch.cat([real, fake.detach()]), labels.repeat(2)).chunk(2)
    loss_D = (F.relu(1 - score_real) + F.relu(1 + score_fake)).mean()
    optimizer_D.zero_grad(set_to_none=True)
    loss_D.backward()
    optimizer_D.step()

    D.requires_grad_(False)
    loss_G = -D(fake, labels).mean()
    optimizer_G.zero_grad(set_to_none=True)
    loss_G.backward()
    optimizer_G.step()
    D.requires_grad_(True)
    age = step - at.start if at else step  # of the newest layers: their average must leave its beginning quickly
    _average(parts["G_mean"], G, min(config.ema, (1 + age) / (10 + age)))
    return torch.stack([loss_D, loss_G, score_real.mean(), score_fake.mean()]).detach()


def grow(parts: dict[str, Any], config: ConditionalGANConfig, step: int) -> Growth | None:
    """Bring growing networks to where a step stands, which nothing but the step decides; None for the others."""
    if not config.progressive:
        return None
    at = growth(step, config.steps, parts["G"].levels)
    for name in ("G", "D", "G_mean"):
        parts[name].grow(at.level, at.alpha)
    return at


def profiled_step(config: ConditionalGANConfig, image_size_px: int, device: str) -> ProfiledStep:
    """Return the training step for two classes of random images, which the time does not depend on."""

    def ready() -> Callable[[], object]:
        parts = make_parts(2, image_size_px, config, device, seed=0)
        shape = (2 * config.batch_size, image_size_px, image_size_px, 3)
        images = torch.randint(256, shape, dtype=torch.uint8, device=device)
        by_class = [torch.arange(0, len(images), 2), torch.arange(1, len(images), 2)]
        steps = itertools.count()
        return lambda: train_step(parts, images, by_class, config, 0, next(steps))

    return ProfiledStep(ready, ready)


def build(num_classes: int, image_size_px: int, config: ConditionalGANConfig) -> tuple[AnyGenerator, AnyDiscriminator]:
    """Return both networks, initialised from torch's global generator."""
    kind = ProgressiveDiscriminator if config.progressive else Discriminator
    G = build_generator(num_classes, image_size_px, config)
    return G, kind(num_classes, image_size_px, config.filters, config.self_attention, config.spectral_norm)


def build_generator(num_classes: int, image_size_px: int, config: ConditionalGANConfig) -> AnyGenerator:
    """Return the generator, making images of the whole size, initialised from torch's global generator."""
    kind = ProgressiveGenerator if config.progressive else Generator
    return kind(num_classes, image_size_px, config.z_dim, config.filters, config.self_attention)


@torch.no_grad()
def calibrate(G: AnyGenerator, num_classes: int, config: ConditionalGANConfig, ctx: RunContext) -> None:
    """Measure the batch-norm statistics of averaged weights anew ("standing statistics", Brock et al. 2019)."""
    draw = torch.Generator().manual_seed(derive_seed("cgan calibration", ctx.seed))
    norms = [m for m in G.modules() if isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d))]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over the batches
    G.train()
    for _ in range(CALIBRATION_BATCHES):
        z = torch.randn(config.batch_size, config.z_dim, generator=draw)
        labels = torch.randint(num_classes, (config.batch_size,), generator=draw)
        G(z.to(ctx.device), labels.to(ctx.device))
    G.eval()


@torch.no_grad()
def _save_samples(G: AnyGenerator, data: TrainingData, step: int, ctx: RunContext, each: int = 16) -> None:
    draw = torch.Generator().manual_seed(derive_seed("cgan grid", ctx.seed))
    z = torch.randn(each, G.z_dim, generator=draw).to(ctx.device)  # the same noise at every step and for every class
    for label in range(len(data.classes)):
        images = G(z, torch.full((each,), label, device=ctx.device))
        ctx.save_images(f"class_{label}", step, to_uint8(_whole(images, data.image_size_px)))


@torch.no_grad()
def _to_be_judged(
    G: AnyGenerator, data: TrainingData, ctx: RunContext
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Return images uint8 [N, S, S, 3] and their labels: as the training images have them, the same at every step."""
    n = len(data.labels)
    labels = np.sort(data.labels)[np.arange(min(n, JUDGED_IMAGES)) * n // min(n, JUDGED_IMAGES)]
    draw = torch.Generator().manual_seed(derive_seed("cgan fidelity", ctx.seed))
    z = torch.randn(len(labels), G.z_dim, generator=draw).to(ctx.device)
    claimed = torch.tensor(labels, device=ctx.device)
    batches = [G(z[i : i + BATCH], claimed[i : i + BATCH]) for i in range(0, len(z), BATCH)]
    return to_uint8(_whole(torch.cat(batches), data.image_size_px)), labels


def _whole(images: torch.Tensor, size_px: int) -> torch.Tensor:
    """Enlarge what a network that is still growing made."""
    return images if images.shape[-1] == size_px else F.interpolate(images, size=(size_px, size_px))


def _balanced_batch(
    by_class: list[torch.Tensor], batch_size: int, draw: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw labels uniformly, then an image of each: a rare class is learned as well as a common one."""
    labels = torch.randint(len(by_class), (batch_size,), generator=draw)
    u = torch.rand(batch_size, generator=draw, dtype=torch.float64)
    chosen = [by_class[int(c)][int(v * len(by_class[int(c)]))] for c, v in zip(labels, u, strict=True)]
    return labels, torch.stack(chosen)


def _positions_by_class(data: TrainingData) -> list[torch.Tensor]:
    positions = [torch.tensor(np.flatnonzero(data.labels == c)) for c in range(len(data.classes))]
    for name, found in zip(data.classes, positions, strict=True):
        if not len(found):
            raise DataError(f"cgan: no training image of class {name!r}; it needs at least one of each class")
    return positions


@torch.no_grad()
def _average(mean: nn.Module, live: nn.Module, decay: float) -> None:
    """mean ← decay · mean + (1 − decay) · live."""
    for m, p in zip(mean.parameters(), live.parameters(), strict=True):
        m.lerp_(p, 1 - decay)
