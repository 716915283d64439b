"""The training loop of all label-conditional GANs: step, log, sample, fidelity, checkpoint.

Each random choice derives from the seed and the number of the step, so training resumes exactly. What differs between
the GANs (networks, losses, batches, averaging, growth) is in their ``GANModel``.
"""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from baselines.gan_model import GANModel, TrainingImages, TrainState
from baselines.gan_sampling import images_for_fidelity, save_grids, side_of, standing_generator
from baselines.pixels import to_float
from bench.abilities import UsesUnlabelled, unlabelled_images
from bench.errors import DataError, DivergedError
from bench.interfaces import RunContext, TrainingData
from bench.types import ProfiledStep, Uint8Images

LOG_EVERY = 10  # steps, for a method without an option ``log_every``
LOGGED = ("loss/D", "loss/G", "score/real", "score/fake")


def train(gan: GANModel, data: TrainingData, ctx: RunContext) -> nn.Module:
    """Return the generator to sample from. Raises ``DataError``, ``ConfigError`` and ``DivergedError``."""
    config = gan.config
    state = make_state(gan, len(data.classes), side_of(gan, data), ctx.device, ctx.seed)
    if source := gan.load_pretrained(state.D, ctx.weights):
        (ctx.folder / "weights.json").write_text(json.dumps(source, indent=2) + "\n")
    parameters = sum(p.numel() for network in (state.G, state.D) for p in network.parameters() if p.requires_grad)
    (ctx.folder / "facts.json").write_text(json.dumps({"parameters": parameters}) + "\n")
    with ctx.phase("data"):
        images = training_images(gan, data, ctx.device)
    losses: list[torch.Tensor] = []

    for step in range(resume(state, ctx), config.steps):
        with ctx.phase("step"):
            losses.append(train_step(gan, state, images, ctx.seed, step))

        done, last = step + 1, step + 1 == config.steps
        checkpoint = not last and done % config.checkpoint_every == 0
        sample = last or done % config.sample_every == 0
        fidelity = config.fid_every > 0 and (last or done % config.fid_every == 0)
        if last or checkpoint or done % getattr(config, "log_every", LOG_EVERY) == 0:
            ctx.log(done, config.steps, {**mean_losses(gan.name, losses, done), **gan.logged(state)})
            losses.clear()
        if sample or fidelity:
            with ctx.phase("sample"):
                G = standing_generator(gan, state.sampled, len(data.classes), ctx)
        if sample:
            with ctx.phase("sample"):
                save_grids(gan, G, data, done, ctx)
        if fidelity:
            with ctx.phase("sample"):
                generated, labels = images_for_fidelity(gan, G, data, ctx)
            scores = ctx.fidelity(generated, labels)
            ctx.log(done, config.steps, {f"fidelity/{name}": value for name, value in scores.items()})
        if checkpoint:
            with ctx.phase("checkpoint"):
                ctx.save_checkpoint({"step": done, **{name: part.state_dict() for name, part in parts(state).items()}})
    return standing_generator(gan, state.sampled, len(data.classes), ctx)


def train_step(gan: GANModel, state: TrainState, images: TrainingImages, seed: int, step: int) -> torch.Tensor:
    """Update the discriminator, the generator and its average on the batch of a step.

    Returns the losses of both and the mean scores of real and generated images, float [4], on the device.
    """
    device = images.pixels.device
    draw = torch.Generator().manual_seed(gan.seed("step", seed, step))
    chosen, real_labels, z, fake_labels = (t.to(device) for t in gan.batch(images, draw, seed, step))
    real = gan.grow(state, to_float(images.pixels[chosen]), step)
    fake = state.G(z, fake_labels)

    loss_D, real_score, fake_score = gan.discriminator_loss(state.D, real, real_labels, fake.detach(), fake_labels)
    optimizer_step(state.optimizer_D, loss_D)

    state.D.requires_grad_(False)
    loss_G = gan.generator_loss(state.D, fake, fake_labels)
    optimizer_step(state.optimizer_G, loss_G)
    state.D.requires_grad_(True)

    if state.G_mean is not None:
        average(state.G_mean, state.G, gan.decay(state, step))
    return torch.stack([loss_D, loss_G, real_score.mean(), fake_score.mean()]).detach()


def optimizer_step(optimizer: torch.optim.Optimizer, loss: torch.Tensor) -> None:
    """Update the optimiser's weights by the gradient of the loss."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()


@torch.no_grad()
def average(mean: nn.Module, network: nn.Module, decay: float) -> None:
    """Set weights: mean ← decay · mean + (1 − decay) · network."""
    for m, p in zip(mean.parameters(), network.parameters(), strict=True):
        m.lerp_(p, 1 - decay)


def make_state(gan: GANModel, num_classes: int, side_px: int, device: str, seed: int) -> TrainState:
    """Return networks on the device, initialised by the seed, and their optimisers."""
    torch.manual_seed(gan.seed("init", seed))
    memory_format = torch.channels_last if gan.channels_last else torch.preserve_format
    G, D = (n.to(device).to(memory_format=memory_format) for n in gan.networks(num_classes, side_px))
    betas, fused = (gan.config.beta1, gan.config.beta2), gan.fused_adam or None
    trained = ([p for p in network.parameters() if p.requires_grad] for network in (G, D))
    rates = gan.learning_rates()
    adam = [torch.optim.Adam(some, lr, betas, fused=fused) for some, lr in zip(trained, rates, strict=True)]
    return TrainState(G, D, copy.deepcopy(G) if gan.averages else None, *adam)


def training_images(gan: GANModel, data: TrainingData, device: str) -> TrainingImages:
    """Return the images at the GAN's size.

    Raises ``DataError`` for a class without images, ``ConfigError`` if it uses unlabelled images and there are none.
    """
    labels, by_class = positions(gan.name, data)
    pixels, without = data.images(gan.side_px), None
    if isinstance(gan, UsesUnlabelled) and gan.uses_unlabelled:
        pixels, without = with_unlabelled(gan.name, data, pixels, gan.side_px)
        labels = torch.cat([labels, torch.full((len(without),), len(by_class))])
    shown = torch.tensor(np.ascontiguousarray(pixels[..., : gan.image_channels]), device=device)
    return TrainingImages(shown, labels, by_class, without)


def with_unlabelled(
    method: str, data: TrainingData, pixels: Uint8Images, size_px: int | None = None
) -> tuple[Uint8Images, torch.Tensor]:
    """Return the images and, after them, those without labels, uint8 [N + M, S, S, 3], and the positions of the latter.

    Raises ``ConfigError`` if there are none.
    """
    further = unlabelled_images(method, data, size_px)
    return np.concatenate([pixels, further]), torch.arange(len(pixels), len(pixels) + len(further))


def replace_half(
    chosen: torch.Tensor, labels: torch.Tensor, without: torch.Tensor, no_label: int, draw: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return positions and labels of a batch, int64 [B], whose second half are random images ``without`` labels."""
    kept = len(chosen) - len(chosen) // 2
    places = torch.randint(len(without), (len(chosen) - kept,), generator=draw)
    none = torch.full_like(places, no_label)
    return torch.cat([chosen[:kept], without[places]]), torch.cat([labels[:kept], none])


def positions(method: str, data: TrainingData) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Return labels, int64 [N], and the positions of each class. Raises ``DataError`` for a class without images."""
    labels = torch.tensor(data.labels)
    by_class = [(labels == label).nonzero().flatten() for label in range(len(data.classes))]
    for name, of_class in zip(data.classes, by_class, strict=True):
        if not len(of_class):
            raise DataError(f"{method}: no training image of class {name!r}; it needs at least one of each class")
    return labels, by_class


def parts(state: object) -> dict[str, nn.Module | torch.optim.Optimizer]:
    """Return by name what a checkpoint holds."""
    return {name: part for name, part in vars(state).items() if part is not None}


def resume(state: object, ctx: RunContext) -> int:
    """Load the last checkpoint, if any, into the state; return the number of finished steps."""
    checkpoint = ctx.load_checkpoint()
    if checkpoint is None:
        return 0
    for name, part in parts(state).items():
        part.load_state_dict(checkpoint[name])
    return int(checkpoint["step"])


def mean_losses(name: str, losses: list[torch.Tensor], step: int) -> dict[str, float]:
    """Return the means by name of the values float [4] of the last steps. Raises ``DivergedError`` with the step."""
    values = torch.stack(losses).cpu()
    bad = (~torch.isfinite(values)).any(dim=1).nonzero()
    if len(bad):
        at = step - len(losses) + 1 + int(bad[0])
        raise DivergedError(
            f"{name}: losses of D and G are {values[bad[0, 0], :2].tolist()} at step {at}; lower learning_rate"
        )
    return dict(zip(LOGGED, values.mean(dim=0).tolist(), strict=True))


def profiled_step(gan: GANModel, side_px: int, device: str) -> ProfiledStep:
    """Return the training step on random images of two classes; its duration does not depend on the images."""

    def build() -> Callable[[], object]:
        state = make_state(gan, 2, side_px, device, seed=0)
        shape = (2 * gan.config.batch_size, side_px, side_px, gan.image_channels)
        labels = torch.arange(shape[0]) % 2
        pixels = torch.randint(256, shape, dtype=torch.uint8, device=device)
        images = TrainingImages(pixels, labels, [(labels == label).nonzero().flatten() for label in (0, 1)])
        steps = itertools.count()
        return lambda: train_step(gan, state, images, 0, next(steps))

    return ProfiledStep(build, build)
