"""The fine-tuning loop for every classifier and every arm, and prediction.

The budget is a number of optimiser steps. All random choices of a step derive from (seed, step), so a resumed run needs
no generator states to continue exactly, and arms with the same training set see the same images in the same order.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import nn

from bench.classifiers.batches import BatchOrder
from bench.classifiers.config import FineTuneConfig
from bench.classifiers.training_set import FineTuneResult, FitsItself, KnownImages, LabelledImages, TrainingSet
from bench.errors import BenchError, DataError, DivergedError
from bench.interfaces import OnlineAugmenter, RunContext
from bench.seeding import derive_seed
from bench.types import Uint8Images

LOG_EVERY = 10  # steps
RANGE_SLACK = 1e-3  # of augmented images beyond [0, 1], by rounding
ADVICE = "lower its learning_rate"


def train_classifier(
    network: nn.Module,
    train: TrainingSet,
    validation: KnownImages,
    num_classes: int,
    config: FineTuneConfig,
    augmenter: OnlineAugmenter,
    ctx: RunContext,
) -> FineTuneResult:
    """Fine-tune ``network`` in place for ``config.steps`` optimiser steps; it ends with the best weights found.

    The best weights are selected on ``validation`` only. Loss: cross entropy with soft targets (for mixing methods),
    optionally weighted by class. Continues from ``ctx.load_checkpoint()``. Raises ``LeakageError`` when either set
    contains images of another part of the fold, ``DataError`` for sets that cannot be used and ``DivergedError`` when
    the loss is not finite.
    """
    check_selection(train, validation)
    _check("training", train, num_classes)
    _check("validation", validation, num_classes)
    device = torch.device(ctx.device)
    network.to(device).to(memory_format=torch.channels_last)
    if isinstance(network, FitsItself):
        return network.fit(train, validation, num_classes, config, augmenter, ctx)
    images, targets = _to_device(train, num_classes, device)
    order = BatchOrder(len(train.labels), config.batch_size, ctx.seed, augmenter.sampling_weights(train.labels))
    weights = inverse_frequency(train.labels, num_classes).to(device) if config.class_weights else None
    optimizer = torch.optim.AdamW(network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    run = _Progress(network, optimizer)
    run.resume(ctx)
    losses: list[torch.Tensor] = []

    while run.step < config.steps and not run.out_of_patience(config):
        with ctx.phase("step"):
            generator = _seed_step(ctx.seed, run.step)
            batch = order.indices(run.step).to(device)
            x, y = augmented(augmenter, images[batch], targets[batch], generator, with_range=run.step == 0)
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(config, run.step)
            network.train()
            loss = F.cross_entropy(network(x), y, weight=weights, label_smoothing=config.label_smoothing)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
            run.step += 1

        last = run.step == config.steps
        evaluate = last or run.step % config.evaluate_every == 0
        checkpoint = not last and run.step % config.checkpoint_every == 0
        if evaluate or checkpoint or run.step % LOG_EVERY == 0:
            ctx.log(run.step, config.steps, {"train/loss": _mean_loss(losses, run.step)})
            losses.clear()
        if evaluate:
            run.update_best(_validated(network, validation, num_classes, config, ctx, run.step), config)
        if checkpoint:
            with ctx.phase("checkpoint"):
                run.save(ctx)

    network.load_state_dict(run.best_weights)
    return FineTuneResult(run.best_step, run.best, run.step, run.step * config.batch_size)


def augmented(
    augmenter: OnlineAugmenter, images: torch.Tensor, targets: torch.Tensor, generator: torch.Generator,
    with_range: bool,
) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
    """Return a batch of images uint8 [B, H, W, 3] as the augmenter changes it: float [B, 3, H, W], targets [B, C].

    Raises ``BenchError`` for another shape or type, and if ``with_range``, which waits for the device, for values
    outside [0, 1].
    """
    pixels = images.permute(0, 3, 1, 2).float().div_(255)
    shapes = (pixels.shape, targets.shape)
    x, y = augmenter.transform(pixels, targets, generator)
    got = f"images {x.dtype} {list(x.shape)}, targets {y.dtype} {list(y.shape)}"
    right = (x.shape, y.shape) == shapes and x.is_floating_point() and y.is_floating_point()
    if right and with_range:
        low, high = x.aminmax()
        got, right = f"{got}, values {low:g} to {high:g}", bool(low >= -RANGE_SLACK) and bool(high <= 1 + RANGE_SLACK)
    if not right:
        raise BenchError(
            f"{type(augmenter).__name__}.transform returned {got}; expected images float {list(shapes[0])} with values "
            f"in [0, 1], and targets float {list(shapes[1])}"
        )
    return x, y


def _validated(
    network: nn.Module, validation: LabelledImages, num_classes: int, config: FineTuneConfig, ctx: RunContext, step: int
) -> dict[str, float]:
    """Return and log the scores of ``validate`` after a step. Raises ``DivergedError``."""
    with ctx.phase("evaluate"):
        metrics = validate(network, validation, num_classes, ctx.device, config.batch_size)
    if not math.isfinite(metrics["loss"]):
        raise DivergedError(f"the classifier's validation loss is {metrics['loss']} at step {step}; {ADVICE}")
    ctx.log(step, config.steps, {f"validation/{k}": v for k, v in metrics.items()})
    return metrics


def check_selection(train: TrainingSet, validation: KnownImages) -> None:
    """Raise ``LeakageError`` unless training images are of the fold's training part and validation images of its
    validation part.

    The validation images decide the best step and the early stop.
    """
    advice = "train on the training part and select on the validation part of the same fold"
    train.fold_parts.require("the training set", train.source_images, "train", advice)
    train.fold_parts.require("the images for model selection", validation.source_images, "validation", advice)


def learning_rate(config: FineTuneConfig, step: int) -> float:
    """Linear warm-up over ``warmup_fraction`` of the steps, then a half cosine to zero at the end of the budget."""
    warmup = round(config.warmup_fraction * config.steps)
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    done = (step - warmup) / max(1, config.steps - warmup)
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * done))


def inverse_frequency(labels: npt.NDArray[np.int64], num_classes: int) -> torch.Tensor:
    """Return weights float [C], w_c = N / (K n_c) over the K classes present; their mean over the images is 1."""
    counts = np.bincount(labels, minlength=num_classes)
    present = counts > 0
    weights = np.where(present, len(labels) / (present.sum() * np.maximum(counts, 1)), 0.0)
    return torch.tensor(weights, dtype=torch.float32)


def validate(
    network: nn.Module, data: LabelledImages, num_classes: int, device: str, batch_size: int
) -> dict[str, float]:
    """Return 'balanced_accuracy' (mean recall over the classes present) and 'loss' (mean negative log-likelihood)."""
    log_probabilities = _log_probabilities(network, data.images, device, batch_size).cpu().numpy()
    return scores_of(log_probabilities, data.labels, num_classes)


def scores_of(
    log_probabilities: npt.NDArray[np.float64], labels: npt.NDArray[np.int64], num_classes: int
) -> dict[str, float]:
    """Return the scores of ``validate`` of log-probabilities float64 [N, C] and labels int64 [N]."""
    right = log_probabilities.argmax(axis=1) == labels
    recalls = [right[labels == c].mean() for c in range(num_classes) if (labels == c).any()]
    loss = -log_probabilities[np.arange(len(labels)), labels].mean()
    return {"balanced_accuracy": float(np.mean(recalls)), "loss": float(loss)}


def predict(
    network: nn.Module, images: Uint8Images, device: str, batch_size: int = 64, cache: Path | None = None
) -> npt.NDArray[np.float64]:
    """Return class probabilities float64 [N, C] of uint8 [N, H, W, 3]; rows sum to 1. The network is set to eval.

    ``cache`` is a folder for the features of images that a network with frozen features has seen before.
    """
    network.to(device).to(memory_format=torch.channels_last)
    if isinstance(network, FitsItself):
        return network.eval().log_probabilities(images, device, cache).exp().cpu().numpy()
    return _log_probabilities(network, images, device, batch_size).exp().cpu().numpy()


class _Progress:
    """The state of a run: everything that a checkpoint must store."""

    def __init__(self, network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        self.network, self.optimizer = network, optimizer
        self.step = 0
        self.best: dict[str, float] = {}
        self.best_step = 0
        self.best_weights: dict[str, torch.Tensor] = {}
        self.looks_without_gain = 0

    def update_best(self, metrics: dict[str, float], config: FineTuneConfig) -> None:
        """Store these weights if they are better on validation than all before."""
        if not self.best or rank(metrics, config) > rank(self.best, config):
            self.best, self.best_step, self.looks_without_gain = metrics, self.step, 0
            self.best_weights = {k: v.detach().clone() for k, v in self.network.state_dict().items()}
        else:
            self.looks_without_gain += 1

    def out_of_patience(self, config: FineTuneConfig) -> bool:
        return config.patience is not None and self.looks_without_gain >= config.patience

    def save(self, ctx: RunContext) -> None:
        names = ("step", "best", "best_step", "best_weights", "looks_without_gain")
        state = {name: getattr(self, name) for name in names}
        ctx.save_checkpoint(
            {"progress": state, "network": self.network.state_dict(), "optimizer": self.optimizer.state_dict()}
        )

    def resume(self, ctx: RunContext) -> None:
        state: dict[str, Any] | None = ctx.load_checkpoint()
        if state is not None:
            self.network.load_state_dict(state["network"])
            self.optimizer.load_state_dict(state["optimizer"])
            for name, value in state["progress"].items():
                setattr(self, name, value)


def rank(metrics: Mapping[str, float], config: FineTuneConfig) -> tuple[float, ...]:
    """Return a key of the scores of ``validate``: the greater, the better the weights."""
    # Small validation sets often tie in balanced accuracy; the loss then decides.
    if config.select_by == "loss":
        return (-metrics["loss"],)
    return (metrics["balanced_accuracy"], -metrics["loss"])


def _seed_step(seed: int, step: int) -> torch.Generator:
    """Return the augmenter's generator for this step, and seed torch's global one (dropout, stochastic depth)."""
    torch.manual_seed(derive_seed("classifier step", seed, step))
    return torch.Generator().manual_seed(derive_seed("augment step", seed, step))


def _mean_loss(losses: list[torch.Tensor], step: int) -> float:
    """Return the mean of the losses since the last validation; one transfer from the device for all of them."""
    values = torch.stack(losses)
    bad = (~torch.isfinite(values)).nonzero()
    if len(bad):
        at = step - len(losses) + 1 + int(bad[0])
        raise DivergedError(f"the classifier's training loss is {float(values[bad[0]])} at step {at}; {ADVICE}")
    return float(values.mean())


@torch.no_grad()
def _log_probabilities(network: nn.Module, images: Uint8Images, device: str, batch_size: int) -> torch.Tensor:
    """Return log-softmax, float64 [N, C], in eval mode."""
    network.eval()
    parts = []
    for start in range(0, len(images), batch_size):
        batch = torch.tensor(np.ascontiguousarray(images[start : start + batch_size]), device=device)
        logits = network(batch.permute(0, 3, 1, 2).float().div_(255))
        parts.append(F.log_softmax(logits.double(), dim=1))
    return torch.cat(parts)


def _to_device(data: LabelledImages, num_classes: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    images = torch.tensor(np.ascontiguousarray(data.images), device=device)
    labels = torch.tensor(data.labels, dtype=torch.int64, device=device)
    return images, F.one_hot(labels, num_classes).float()


def _check(part: str, data: LabelledImages, num_classes: int) -> None:
    images, labels = data.images, data.labels
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3 or len(images) != len(labels):
        raise DataError(
            f"{part} images: got {images.dtype} {images.shape} with {len(labels)} labels, "
            "expected uint8 [N, H, W, 3] with N labels"
        )
    if not len(labels):
        raise DataError(f"there are no {part} images; a fold needs some of each class in every part")
    if labels.min() < 0 or labels.max() >= num_classes:
        raise DataError(f"{part} labels span {labels.min()} to {labels.max()}, expected 0 to {num_classes - 1}")
