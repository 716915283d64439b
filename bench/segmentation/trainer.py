"""Training and prediction of segmentation networks: the network of the FCN score, and networks compared under
augmentation (``Aim``).

All random choices of a step derive from (seed, step), so a resumed run needs no generator states to continue exactly.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import nn

from bench.abilities import CarriesMasks
from bench.classifiers.batches import BatchOrder
from bench.errors import DataError, DivergedError
from bench.interfaces import RunContext
from bench.metrics.fcn_score import confusion, fcn_score
from bench.metrics.overlap import dice
from bench.seeding import derive_seed
from bench.segmentation.config import SegmentationConfig
from bench.segmentation.network_config import SegmentationNetworkConfig
from bench.types import Uint8Images

Masks = npt.NDArray[np.uint8]
LOG_EVERY = 10  # steps
BATCH = 8  # of prediction; always full, so that a mask does not depend on the number of images


@dataclass(frozen=True)
class MaskedImages:
    """Images uint8 [N, H, W, 3] and their masks uint8 [N, H, W], 1 foreground, 0 background."""

    images: Uint8Images
    masks: Masks


@dataclass(frozen=True)
class Trained:
    """``validation_score`` is the score of the aim on the validation images at ``best_step``."""

    best_step: int
    validation_score: float
    parameters: int


@dataclass(frozen=True)
class Aim:
    """The input and the selection criterion of a network.

    ``feed`` turns a batch, uint8 [B, H, W, 3] and [B, H, W], and a seed into float [B, 3, H, W] in [0, 1] and [B, H,
    W]; ``evaluate`` returns a network's scores on masked images. The score named ``by`` selects the best weights.
    """

    feed: Callable[[torch.Tensor, torch.Tensor, int], tuple[torch.Tensor, torch.Tensor]]
    evaluate: Callable[[nn.Module, MaskedImages, str], dict[str, float]]
    by: str


def train_segmentation(
    network: nn.Module,
    train: MaskedImages,
    validation: MaskedImages,
    config: SegmentationConfig | SegmentationNetworkConfig,
    ctx: RunContext,
    aim: Aim | None = None,
) -> Trained:
    """Train ``network`` in place for ``config.steps`` steps; it ends with the weights best on ``validation``.

    Loss: binary cross entropy plus soft Dice (Milletari et al. 2016, eq. 3, over the batch), which keeps the network
    from ignoring small foregrounds. Adam (Kingma & Ba 2015), the learning rate decreasing to 0 as a half cosine.
    Without an ``aim``, that of the FCN score network is used: each batch is rotated and mirrored at random, and the
    best weights have the highest mean IoU (Long et al. 2015). Continues from a checkpoint. Raises ``DivergedError``.
    """
    _check(train)
    _check(validation)
    aim = aim or Aim(turned, evaluate, "iou")
    device = torch.device(ctx.device)
    network.to(device).to(memory_format=torch.channels_last)
    images, masks = (torch.from_numpy(np.ascontiguousarray(x)).to(device) for x in (train.images, train.masks))
    order = BatchOrder(len(images), config.batch_size, ctx.seed)
    optimiser = torch.optim.Adam(network.parameters(), lr=config.learning_rate, fused=True)
    step, best = 0, Trained(0, -1.0, sum(p.numel() for p in network.parameters()))
    best_weights: dict[str, torch.Tensor] = {}
    losses: list[torch.Tensor] = []
    if (saved := ctx.load_checkpoint()) is not None:
        step, best = saved["step"], Trained(**saved["best"])
        network.load_state_dict(saved["network"])
        optimiser.load_state_dict(saved["optimiser"])
        best_weights = saved["best_weights"]

    while step < config.steps:
        with ctx.phase("step"):
            batch = order.indices(step).to(device)
            x, y = aim.feed(images[batch], masks[batch], derive_seed("segmentation.turn", ctx.seed, step))
            rate = config.learning_rate * 0.5 * (1 + math.cos(math.pi * step / config.steps))
            losses.append(_update(network, optimiser, rate, x, y))
            step += 1

        last = step == config.steps
        look = last or step % config.evaluate_every == 0
        checkpoint = not last and step % config.checkpoint_every == 0
        if look or checkpoint or step % LOG_EVERY == 0:
            ctx.log(step, config.steps, {"train/loss": _mean_loss(losses, step)})
            losses.clear()
        if look:
            with ctx.phase("evaluate"):
                score = aim.evaluate(network, validation, ctx.device)
            ctx.log(step, config.steps, {f"validation/{k}": v for k, v in score.items()})
            if score[aim.by] > best.validation_score:
                best = Trained(step, score[aim.by], best.parameters)
                best_weights = {k: v.detach().clone() for k, v in network.state_dict().items()}
        if checkpoint:
            state = {"step": step, "best": vars(best), "best_weights": best_weights, "network": network.state_dict()}
            with ctx.phase("checkpoint"):
                ctx.save_checkpoint(state | {"optimiser": optimiser.state_dict()})

    network.load_state_dict(best_weights)
    return best


def _update(
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    learning_rate: float,
    images: torch.Tensor,
    masks: torch.Tensor,
) -> torch.Tensor:
    """Take one optimiser step on a batch at a learning rate; return the loss."""
    for group in optimiser.param_groups:
        group["lr"] = learning_rate
    network.train()
    loss = bce_dice(network(images), masks)
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    optimiser.step()
    return loss.detach()


def bce_dice(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return mean binary cross entropy + 1 − (2 Σ p y + 1) / (Σ p + Σ y + 1), of logits and target [B, H, W]."""
    p = logits.sigmoid()
    dice = (2 * (p * target).sum() + 1) / (p.sum() + target.sum() + 1)
    return F.binary_cross_entropy_with_logits(logits, target) + 1 - dice


def turned(images: torch.Tensor, masks: torch.Tensor, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return uint8 [B, H, W, 3] and [B, H, W] as float [B, 3, H, W] in [0, 1] and [B, H, W], rotated and mirrored.

    One of the eight symmetries of a square for the whole batch; for a rectangle, one of the four that keep its shape.
    """
    x, y = images.permute(0, 3, 1, 2).float().div_(255), masks.float()
    turns, mirror = divmod(int(np.random.default_rng(seed).integers(8)), 2)
    if x.shape[-1] != x.shape[-2]:
        turns = turns // 2 * 2
    x, y = torch.rot90(x, turns, (2, 3)), torch.rot90(y, turns, (1, 2))
    if mirror:
        x, y = x.flip(-1), y.flip(-1)
    return x.contiguous(memory_format=torch.channels_last), y.contiguous()


def augmented(augmenter: CarriesMasks) -> Aim:
    """Return the aim for an online augmentation method: the highest mean Dice over validation images."""

    def feed(images: torch.Tensor, masks: torch.Tensor, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
        generator = torch.Generator().manual_seed(seed)
        x, y = images.permute(0, 3, 1, 2).float().div_(255), masks.float()
        x, y = augmenter.transform_with_masks(x, y, generator)
        return x.contiguous(memory_format=torch.channels_last), y.contiguous()

    return Aim(feed, mean_dice, "dice")


def mean_dice(network: nn.Module, data: MaskedImages, device: str) -> dict[str, float]:
    """Return the mean over images of the network's Dice (``bench.metrics.overlap``)."""
    found = segment(network, data.images, device)
    return {"dice": float(np.mean([dice(a, b) for a, b in zip(data.masks, found, strict=True)]))}


def segment(network: nn.Module, images: Uint8Images, device: str) -> Masks:
    """Return the predicted masks uint8 [N, H, W] of images uint8 [N, H, W, 3]; the network is set to eval."""
    network.to(device).to(memory_format=torch.channels_last).eval()
    return _segment(network, images, device)


@torch.inference_mode()  # weights cast here could not be trained further
def _segment(network: nn.Module, images: Uint8Images, device: str) -> Masks:
    found = np.zeros(images.shape[:3], np.uint8)
    for start in range(0, len(images), BATCH):
        rows = np.arange(start, start + BATCH).clip(max=len(images) - 1)
        batch = torch.from_numpy(images[rows]).to(device).permute(0, 3, 1, 2).float().div_(255)
        logits = network(batch.contiguous(memory_format=torch.channels_last))
        found[start : start + BATCH] = (logits > 0).cpu().numpy()[: len(images) - start]
    return found


def evaluate(network: nn.Module, data: MaskedImages, device: str) -> dict[str, float]:
    """Return the scores of ``bench.metrics.fcn_score`` of the network on masked images."""
    return fcn_score(confusion(data.masks, segment(network, data.images, device)).sum(axis=0))


def _mean_loss(losses: list[torch.Tensor], step: int) -> float:
    value = float(torch.stack(losses).mean())
    if not math.isfinite(value):
        raise DivergedError(
            f"the segmentation loss is {value} near step {step}; lower segmentation.learning_rate, or that of the "
            "segmentation network"
        )
    return value


def _check(data: MaskedImages) -> None:
    images, masks = data.images, data.masks
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[:3] != masks.shape or not len(images):
        raise DataError(
            f"segmentation: got images {images.dtype} {images.shape} with masks {masks.shape}, "
            "expected uint8 [N, H, W, 3] with [N, H, W], N >= 1"
        )
