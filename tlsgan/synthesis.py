"""Translations of training images into the other class; each image is reproducible on its own index and seed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from bench.seeding import derive_seed
from bench.types import Size, Uint8Images, height_width
from tlsgan.data import to_device, to_float, to_uint8

BATCH = 8  # always full, so that an image does not depend on the number of images
VARIANTS = tuple(range(8))  # number of quarter turns; from 4 on also mirrored
UPRIGHT = (0, 2, 4, 6)  # variants that keep height and width
MAX_SHIFT = 1 / 8  # share of the shorter side


@dataclass(frozen=True)
class Recipe:
    """How a synthetic image is made: index of its source, variant (0: unchanged), shift (dy, dx) in pixels, seed."""

    source: int
    variant: int
    shift: tuple[int, int]
    seed: int


def recipe(i: int, sources: int, image_size_px: Size, seed: int) -> Recipe:
    """Return the recipe of a label's i-th image.

    The first pass uses every source once, unchanged, in an order drawn from ``seed``. The next seven passes use the
    other seven rotated and mirrored variants, each once. Later passes also shift by up to an eighth of the shorter
    side. Images that are not square have four variants, so three passes follow the first.
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
    """Rotate, mirror and shift one image uint8 [H, W, 3]; uncovered pixels are filled by reflection."""
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

    The generator must be in evaluation mode: batch norm then uses running statistics, and an image does not depend on
    the other images of its batch.
    """
    channels = int(getattr(generator, "channels", 3))
    for start in range(0, count, BATCH):
        recipes = [recipe(i, len(images), images.shape[1:3], seed) for i in range(start, start + BATCH)]
        batch = np.stack([prepare(images[r.source], r) for r in recipes])
        with torch.inference_mode():
            translated = to_uint8(generator(to_float(to_device(batch, device, channels))))
        yield from list(zip(translated, recipes, strict=True))[: count - start]


class Translator(nn.Module):
    """A generator that takes images float [B, 3, H, W] in [0, 1] and returns translations [B, C, H, W] in [-1, 1]."""

    def __init__(self, generator: nn.Module) -> None:
        super().__init__()
        self.generator, self.channels = generator, int(getattr(generator, "channels", 3))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the translations; a generator of one channel takes the first channel."""
        translations: torch.Tensor = self.generator(2 * images[:, : self.channels] - 1)
        return translations


def cycle(forward: nn.Module, backward: nn.Module, images: Uint8Images, device: str) -> tuple[Uint8Images, Uint8Images]:
    """Return translations of images uint8 [N, H, W, 3] and their reconstructions, in the same format.

    ``backward`` gets the float output of ``forward``, before rounding, as in the cycle loss. Both generators must be in
    evaluation mode.
    """
    translated, reconstructed = np.empty_like(images), np.empty_like(images)
    channels = int(getattr(forward, "channels", 3))
    for start in range(0, len(images), BATCH):
        rows = np.arange(start, start + BATCH).clip(max=len(images) - 1)
        with torch.inference_mode():
            fake = forward(to_float(to_device(images[rows], device, channels)))
            rec = backward(fake)
        for out, batch in ((translated, fake), (reconstructed, rec)):
            out[start : start + BATCH] = to_uint8(batch)[: len(images) - start]
    return translated, reconstructed
