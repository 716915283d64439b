"""Images from the generator of a label-conditional GAN: batch-norm statistics, sample grids, one seed per image."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import nn

from baselines.gan_model import GANModel
from baselines.pixels import to_uint8
from bench.interfaces import RunContext, TrainingData
from bench.types import SyntheticImage, Uint8Images

STANDING_BATCHES = 16
GRID_IMAGES = 16  # per class
FIDELITY_IMAGES = 256  # at most, for FID and KID during training
BLOCK = 32  # images are made in full blocks of this size: an image must not depend on how many are asked for


def side_of(gan: GANModel, data: TrainingData) -> int:
    """Return the side of the GAN's images in pixels."""
    return gan.side_px or data.image_size_px


@torch.no_grad()
def standing_generator(gan: GANModel, G: nn.Module, num_classes: int, ctx: RunContext) -> nn.Module:
    """Return a copy in evaluation mode, its batch-norm statistics measured with its present weights.

    Running averages lag behind the weights and are not defined for averaged weights. These are the "standing
    statistics" of Brock et al. 2019, "Large Scale GAN Training for High Fidelity Natural Image Synthesis".
    """
    G = copy.deepcopy(G).train()
    norms = [m for m in G.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean over all batches
    draw = torch.Generator().manual_seed(gan.seed("standing statistics", ctx.seed))
    for _ in range(STANDING_BATCHES if norms else 0):
        z = torch.randn(gan.config.batch_size, gan.config.z_dim, generator=draw)
        labels = torch.randint(num_classes, (gan.config.batch_size,), generator=draw)
        G(z.to(ctx.device), labels.to(ctx.device))
    return G.eval()


@torch.no_grad()
def generated(G: nn.Module, z: torch.Tensor, labels: torch.Tensor, side_px: int) -> Uint8Images:
    """Return images uint8 [B, S, S, 3]; those of a network that is still growing are enlarged."""
    images = G(z, labels)
    return to_uint8(images if images.shape[-1] == side_px else F.interpolate(images, size=(side_px, side_px)))


def save_grids(gan: GANModel, G: nn.Module, data: TrainingData, step: int, ctx: RunContext) -> None:
    """Keep one sample grid per class, from the same noise at every step and for every class."""
    draw = torch.Generator().manual_seed(gan.seed("grid", ctx.seed))
    z = torch.randn(GRID_IMAGES, gan.config.z_dim, generator=draw).to(ctx.device)
    for label in range(len(data.classes)):
        labels = torch.full((GRID_IMAGES,), label, device=ctx.device)
        ctx.save_images(f"class_{label}", step, generated(G, z, labels, side_of(gan, data)))


def images_for_fidelity(
    gan: GANModel, G: nn.Module, data: TrainingData, ctx: RunContext
) -> tuple[Uint8Images, npt.NDArray[np.int64]]:
    """Return images uint8 [N, S, S, 3] and labels int64 [N], distributed like those of the training images.

    Noise and labels are the same at every step.
    """
    n = len(data.labels)
    count = min(n, FIDELITY_IMAGES)
    labels = np.sort(data.labels)[np.arange(count) * n // count]
    draw = torch.Generator().manual_seed(gan.seed("fidelity", ctx.seed))
    z = torch.randn(count, gan.config.z_dim, generator=draw).to(ctx.device)
    blocks = zip(z.split(BLOCK), torch.tensor(labels, device=ctx.device).split(BLOCK), strict=True)
    return np.concatenate([generated(G, *block, side_of(gan, data)) for block in blocks]), labels


def load_generator(gan: GANModel, data: TrainingData, weights: Path) -> nn.Module:
    """Return the trained generator, on the CPU and in evaluation mode."""
    G = gan.generator(len(data.classes), side_of(gan, data))
    G.load_state_dict(load_file(weights))
    return G.eval()


def synthesize(
    gan: GANModel, data: TrainingData, counts: Mapping[int, int], weights: Path, ctx: RunContext
) -> Iterator[SyntheticImage]:
    """Yield images by label; image i of a label depends on (ctx.seed, label, i) and the weights only."""
    G = load_generator(gan, data, weights)
    G.to(ctx.device).to(memory_format=torch.channels_last if gan.channels_last else torch.preserve_format).eval()
    for label, count in sorted(counts.items()):
        for start in range(0, count, BLOCK):
            seeds = [gan.seed("sample", ctx.seed, label, start + i) for i in range(BLOCK)]
            draws = [torch.Generator().manual_seed(s) for s in seeds]
            z = torch.stack([torch.randn(gan.config.z_dim, generator=d) for d in draws]).to(ctx.device)
            with ctx.phase("sample"):
                images = generated(G, z, torch.full((BLOCK,), label, device=ctx.device), side_of(gan, data))
            for image, seed in list(zip(images, seeds, strict=True))[: count - start]:
                yield SyntheticImage(image, label, seed)
