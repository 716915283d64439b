"""A picture of the closest pairs: synthetic images beside their nearest training images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bench.data.loaders import Part
from bench.types import Uint8Images

if TYPE_CHECKING:
    from bench.metrics.memorization import MemorisationResult, MemorisationTest

PAIRS = 9
SIDE_PX, GAP_PX, LINE_PX = 192, 4, 16
WHITE, INK, ALARM = (255, 255, 255), (20, 20, 20), (190, 30, 30)


def closest_pairs(
    made: Uint8Images,
    names: Sequence[str],
    train: Part,
    classes: Sequence[str],
    nearest: npt.NDArray[np.int64],
    results: Mapping[str, MemorisationResult],
    tests: Mapping[str, MemorisationTest],
) -> Uint8Images:
    """Return the ``PAIRS`` synthetic images that are nearest to being memorised, nearest first, as uint8 [P, H, W, 3].

    Left: the synthetic image, aligned with its training image, with its class label; right: training image ``nearest``
    [M]; below, for each space, its distance to the nearest training image and the relative distance beside the
    threshold.
    """
    nearness = np.min([j.nearness for j in results.values()], axis=0)
    chosen = np.argsort(nearness, kind="stable")[:PAIRS]
    pairs = []
    for i in chosen:
        real = int(nearest[i])
        heads = (f"synthetic {names[i]}", f"{classes[train.labels[real]]} of {train.groups[real]}")
        lines = [_line(space, j, tests[space], int(i)) for space, j in results.items()]
        pairs.append(_pair(_turned_like(made[i], train.images[real]), train.images[real], heads, lines))
    return np.stack(pairs)


def _line(space: str, result: MemorisationResult, test: MemorisationTest, i: int) -> tuple[str, bool]:
    unit = " grey levels" if space == "pixels" else ""
    distance, relative = result.near.distance[i, 0], result.near.relative[i]
    text = f"{space}: {distance:.3g}{unit}, relative {relative:.2f} (copy < {test.threshold.value:.2f})"
    return text, bool(result.copied[i])


def _turned_like(image: Uint8Images, other: Uint8Images) -> Uint8Images:
    """Return the rotated or mirrored version (of eight) of the image that is nearest to the other."""
    from bench.metrics.memorization import TURNED, thumbnails

    one, target = thumbnails(np.stack([image, other]))
    mirrored, turns = divmod(int(np.square(one[TURNED] - target).sum(axis=1).argmin()), 4)
    return np.rot90(image[:, ::-1] if mirrored else image, turns)


def _pair(
    left: Uint8Images, right: Uint8Images, heads: tuple[str, str], lines: Sequence[tuple[str, bool]]
) -> Uint8Images:
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(size=LINE_PX - 4)
    canvas = Image.new("RGB", (2 * SIDE_PX + 3 * GAP_PX, SIDE_PX + (1 + len(lines)) * LINE_PX + 2 * GAP_PX), WHITE)
    draw = ImageDraw.Draw(canvas)
    for column, (image, head) in enumerate(zip((left, right), heads, strict=True)):
        x = GAP_PX + column * (SIDE_PX + GAP_PX)
        draw.text((x, 0), head[: SIDE_PX // 7], fill=INK, font=font)
        shown = Image.fromarray(np.ascontiguousarray(image)).resize((SIDE_PX, SIDE_PX), Image.Resampling.NEAREST)
        canvas.paste(shown, (x, LINE_PX + GAP_PX))
    for row, (text, alarm) in enumerate(lines):
        y = LINE_PX + SIDE_PX + GAP_PX + row * LINE_PX
        draw.text((GAP_PX, y), text, fill=ALARM if alarm else INK, font=font)
    return np.asarray(canvas, dtype=np.uint8)
