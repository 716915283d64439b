"""Translations of training images into the other class, as many as asked for, reproducible one by one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from bench.seeding import derive_seed
from bench.types import Size, Uint8Images, height_width
from tlsgan.data import to_device, to_float, to_uint8

BATCH = 8  # always full, so that an image's bits do not depend on how many are asked for
VARIANTS = tuple(range(8))  # rotations by so many quarter turns; from 4 on mirrored
UPRIGHT = (0, 2, 4, 6)  # those that leave an image's height and width as they are
MAX_SHIFT = 1 / 8  # of the image's shorter side


@dataclass(frozen=True)
class Recipe:
    """How one synthetic image is made: which source, turned how (0: as it is), shifted by how many pixels."""

    source: int
    variant: int
    shift: tuple[int, int]
    seed: int


def recipe(i: int, sources: int, image_size_px: Size, seed: int) -> Recipe:
    """Return the recipe of a label's i-th image.

    The first pass takes every source once, in an order drawn from ``seed``, as it is; the next seven take it turned
    and mirrored, so that all eight variants are used once; later passes shift it by up to an eighth as well. An image
    that is no square has four variants, so the next passes are three.
    """
    height, width = height_width(image_size_px)
    variants = VARIANTS if height == width else UPRIGHT
    round_, place = divmod(i, sources)
    image_seed = derive_seed("tlsgan.recipe", seed, i)
    order = np.random.default_rng(derive_seed("tlsgan.sources", seed, round_)).permutation(sources)
    source = int(order[place])
    if round_ == 0:
        return Recipe(source, 0, (0, 0), image_seed)
    if round_ < len(variants):
        turns = 1 + np.random.default_rng(derive_seed("tlsgan.turns", seed, source)).permutation(len(variants) - 1)
        return Recipe(source, variants[turns[round_ - 1]], (0, 0), image_seed)
    rng, reach = np.random.default_rng(image_seed), max(1, int(min(height, width) * MAX_SHIFT))
    shift = rng.integers(-reach, reach + 1, size=2)
    return Recipe(source, variants[rng.integers(len(variants))], (int(shift[0]), int(shift[1])), image_seed)


def prepare(image: Uint8Images, how: Recipe) -> Uint8Images:
    """Turn, mirror and shift one image uint8 [H, W, 3]; what a shift uncovers is filled by reflection."""
    image = np.rot90(image, how.variant % 4)
    if how.variant >= 4:
        image = image[:, ::-1]
    dy, dx = how.shift
    if dy or dx:
        reach = max(abs(dy), abs(dx))
        height, width = image.shape[:2]
        padded = np.pad(image, ((reach, reach), (reach, reach), (0, 0)), mode="reflect")
        image = padded[reach + dy : reach + dy + height, reach + dx : reach + dx + width]
    return np.ascontiguousarray(image)


def translate(
    generator: nn.Module, images: Uint8Images, count: int, seed: int, device: str
) -> Iterator[tuple[Uint8Images, Recipe]]:
    """Yield ``count`` translations of source images uint8 [N, H, W, 3] with their recipes, in a fixed order.

    The generator is used in evaluation mode: batch norm by its running statistics, so that an image does not depend
    on its neighbours.
    """
    for start in range(0, count, BATCH):
        recipes = [recipe(i, len(images), images.shape[1:3], seed) for i in range(start, start + BATCH)]
        batch = np.stack([prepare(images[r.source], r) for r in recipes])
        with torch.inference_mode():
            translated = to_uint8(generator(to_float(to_device(batch, device))))
        yield from list(zip(translated, recipes, strict=True))[: count - start]


def cycle(there: nn.Module, back: nn.Module, images: Uint8Images, device: str) -> tuple[Uint8Images, Uint8Images]:
    """Return translations by ``there`` and their reconstructions by ``back`` of images uint8 [N, H, W, 3], both alike.

    The way back starts from the translation in float, before it is rounded, as in the cycle loss. Both generators are
    in evaluation mode.
    """
    translated, reconstructed = np.empty_like(images), np.empty_like(images)
    for start in range(0, len(images), BATCH):
        rows = np.arange(start, start + BATCH).clip(max=len(images) - 1)
        with torch.inference_mode():
            fake = there(to_float(to_device(images[rows], device)))
            rec = back(fake)
        for out, made in ((translated, fake), (reconstructed, rec)):
            out[start : start + BATCH] = to_uint8(made)[: len(images) - start]
    return translated, reconstructed
