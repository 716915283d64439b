"""The training loop of ``baselines.label_gan``. All randomness derives from (seed, step), so it resumes exactly."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from baselines.gan_loop import mean_losses, resume
from baselines.pixels import to_float, to_uint8
from bench.errors import DataError
from bench.interfaces import RunContext, TrainingData
from bench.seeding import derive_seed
from bench.types import ProfiledStep

if TYPE_CHECKING:
    from baselines.label_gan import LabelGAN

STANDING_BATCHES = 16


def train(method: LabelGAN, data: TrainingData, ctx: RunContext) -> nn.Module:
    """Return the trained generator in evaluation mode. Raises ``DataError`` and ``DivergedError``."""
    config = method.config
    with ctx.phase("data"):
        missing = [name for c, name in enumerate(data.classes) if not (data.labels == c).any()]
        if missing:
            raise DataError(f"{method.name}: no training image of class {missing[0]!r}; it needs one of each at least")
        images = torch.tensor(np.ascontiguousarray(data.images(method.side_px)), device=ctx.device)
        labels = torch.tensor(data.labels, device=ctx.device)
    parts = make_parts(method, len(data.classes), ctx.device, ctx.seed)
    parameters = sum(p.numel() for name in "GD" for p in parts[name].parameters())
    (ctx.folder / "facts.json").write_text(json.dumps({"parameters": parameters}) + "\n")
    start = resume(parts, ctx)
    losses: list[torch.Tensor] = []

    for step in range(start, config.steps):
        with ctx.phase("step"):
            losses.append(train_step(method, parts, images, labels, len(data.classes), ctx.seed, step))

        done, last = step + 1, step + 1 == config.steps
        checkpoint = not last and done % config.checkpoint_every == 0
        if last or checkpoint or done % config.log_every == 0:
            ctx.log(done, config.steps, mean_losses(method.name, losses, done))
            losses.clear()
        if last or done % config.sample_every == 0:
            with ctx.phase("sample"):
                sampler = _standing(method, parts["G"], len(data.classes), ctx)
                _save_samples(method, sampler, len(data.classes), done, ctx)
        if checkpoint:
            with ctx.phase("checkpoint"):
                ctx.save_checkpoint({"step": done, **{name: part.state_dict() for name, part in parts.items()}})
    return _standing(method, parts["G"], len(data.classes), ctx)


def make_parts(method: LabelGAN, num_classes: int, device: str, seed: int) -> dict[str, Any]:
    """Return both networks on the device and their optimisers: all that a checkpoint holds."""
    torch.manual_seed(derive_seed(method.name, "init", seed))
    networks = [n.to(device).train() for n in method.networks(num_classes)]
    c = method.config
    adam = [torch.optim.Adam(n.parameters(), lr=c.learning_rate, betas=(c.beta1, c.beta2)) for n in networks]
    return dict(zip(("G", "D", "optimizer_G", "optimizer_D"), [*networks, *adam], strict=True))


def train_step(
    method: LabelGAN, parts: dict[str, Any], images: torch.Tensor, labels: torch.Tensor, num_classes: int,
    seed: int, step: int,
) -> torch.Tensor:  # fmt: skip
    """Update the discriminator, then the generator, on the step's batch of ``images`` uint8 [N, S, S, 3].

    loss_D = (BCE(D(x, y), 1) + BCE(D(G(z, y'), y'), 0)) / 2 and loss_G = BCE(D(G(z, y'), y'), 1), with y' drawn
    uniformly. Returns both and the mean of D's output for real and generated images, float [4], on the device.
    """
    G, D, optimizer_G, optimizer_D = (parts[name] for name in ("G", "D", "optimizer_G", "optimizer_D"))
    size, device = method.config.batch_size, images.device
    chosen = batch_positions(len(images), size, seed, step).to(device)
    draw = torch.Generator().manual_seed(derive_seed(method.name, "step", seed, step))
    z = torch.randn(size, method.config.z_dim, generator=draw).to(device)
    asked = torch.randint(num_classes, (size,), generator=draw).to(device)

    fake = G(z, asked)
    real_logits, fake_logits = D(to_float(images[chosen]), labels[chosen]), D(fake.detach(), asked)
    loss_D = (_bce(real_logits, 1.0) + _bce(fake_logits, 0.0)) / 2
    optimizer_D.zero_grad(set_to_none=True)
    loss_D.backward()
    optimizer_D.step()

    D.requires_grad_(False)
    loss_G = _bce(D(fake, asked), 1.0)
    optimizer_G.zero_grad(set_to_none=True)
    loss_G.backward()
    optimizer_G.step()
    D.requires_grad_(True)
    return torch.stack([loss_D, loss_G, real_logits.sigmoid().mean(), fake_logits.sigmoid().mean()]).detach()


def batch_positions(images: int, batch_size: int, seed: int, step: int) -> torch.Tensor:
    """Return the positions int64 [B] of a step's real images: epoch after epoch, each in an order of its own."""
    first = step * batch_size
    epochs = range(first // images, (first + batch_size - 1) // images + 1)
    orders = [
        torch.randperm(images, generator=torch.Generator().manual_seed(derive_seed("label gan epoch", seed, epoch)))
        for epoch in epochs
    ]
    start = first - epochs[0] * images
    return torch.cat(orders)[start : start + batch_size]


def profiled_step(method: LabelGAN, device: str) -> ProfiledStep:
    """Return the training step for two classes of random images, which the time does not depend on."""

    def ready() -> Callable[[], object]:
        parts = make_parts(method, 2, device, seed=0)
        shape = (2 * method.config.batch_size, method.side_px, method.side_px, 3)
        images = torch.randint(256, shape, dtype=torch.uint8, device=device)
        labels = torch.arange(len(images), device=device) % 2
        steps = itertools.count()
        return lambda: train_step(method, parts, images, labels, 2, 0, next(steps))

    return ProfiledStep(ready, ready)


@torch.no_grad()
def _standing(method: LabelGAN, G: nn.Module, num_classes: int, ctx: RunContext) -> nn.Module:
    """Return a copy of the generator in evaluation mode, with batch-norm statistics of its present weights.

    Running averages lag behind the weights, by hundreds of steps where they are slow; these do not (Brock et al. 2019).
    """
    sampler, _ = method.networks(num_classes)
    sampler.load_state_dict(G.state_dict())
    sampler.to(ctx.device)
    norms = [m for m in sampler.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over the batches
    draw = torch.Generator().manual_seed(derive_seed(method.name, "standing statistics", ctx.seed))
    for _ in range(STANDING_BATCHES if norms else 0):
        z = torch.randn(method.config.batch_size, method.config.z_dim, generator=draw)
        labels = torch.randint(num_classes, (method.config.batch_size,), generator=draw)
        sampler.train()(z.to(ctx.device), labels.to(ctx.device))
    return sampler.eval()


@torch.no_grad()
def _save_samples(method: LabelGAN, G: nn.Module, num_classes: int, step: int, ctx: RunContext, each: int = 16) -> None:
    draw = torch.Generator().manual_seed(derive_seed(method.name, "grid", ctx.seed))
    z = torch.randn(each, method.config.z_dim, generator=draw).to(ctx.device)  # the same at every step, for every class
    for label in range(num_classes):
        images = G(z, torch.full((each,), label, device=ctx.device))
        ctx.save_images(f"class_{label}", step, to_uint8(images))


def _bce(logits: torch.Tensor, target: float) -> torch.Tensor:
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, target))
