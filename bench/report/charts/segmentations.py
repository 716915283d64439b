"""Masks that each arm's segmentation network found in the same test images beside the true ones, and where it looked.

The true outline is blue, what was found is tinted orange; the Grad-CAM of what was found is below.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from bench.metrics.overlap import dice, outline
from bench.report.charts.pages import even, numbered
from bench.report.charts.tiles import (
    ARMS,
    BLUE,
    GAP,
    INK,
    LEGEND,
    LINE,
    ORANGE,
    PAD,
    TEXT,
    TILE,
    WHITE,
    arrays,
    broken,
    by_arm,
    enlarged,
    font,
    layer_of,
    legend,
    overlay,
    picture_name,
    side_names,
    wrapped,
    write_heads,
)
from bench.report.info import Arm, ReportInfo
from bench.report.records.rows import Rows
from bench.types import ResultRow, Uint8Images

CAPTION: Final = (
    "Above: what the network of each arm found (orange), the true outline (blue), and the Dice of the image. Below: "
    "Grad-CAM of a segmentation (Vinogradova et al. 2020), where the network finds what speaks for the pixels that it "
    "found, on the deepest layer of its encoder; the skips past that layer are not in it. As coarse as the layer's "
    "grid, scaled by its own maximum, empty where nothing was found. Test images of the first fold, the same for all "
    "arms. Qualitative: a few images prove nothing about an arm."
)
ARRAYS: Final = ("images", "true", "found", "maps", "labels", "paths")
TINT: Final = 0.45
LEAST_WIDTH: Final = 640


@dataclass(frozen=True)
class Examples:
    """What stage segmenter left: images uint8 [K, H, W, 3], masks uint8 [K, H, W], maps [K, H, W] or [0, H, W].

    ``layer`` says in words what the maps were computed on.
    """

    images: Uint8Images
    true: npt.NDArray[np.uint8]
    found: npt.NDArray[np.uint8]
    maps: npt.NDArray[np.float16]
    labels: npt.NDArray[np.int64]
    paths: npt.NDArray[np.str_]
    layer: str = ""


def draw_segmentations(rows: Rows, info: ReportInfo, root: Path, out: Path) -> dict[str, str]:
    """Draw ``out/pictures/segmentation_<network>.png``, on as many pages as arms need.

    Returns what each shows, by path relative to ``out``; nothing of a network that has found nothing yet.
    """

    def read(row: ResultRow) -> Examples | None:
        stored = arrays(root / row.folder / "examples.npz", ARRAYS)
        return Examples(**stored, layer=layer_of(row)) if stored else None

    drawn: dict[str, str] = {}
    for network in info.segmenters:
        found = by_arm(rows, info, "segmenter", network, read)
        for number, arms in enumerate(even(list(found), ARMS), start=1):
            path = numbered(picture_name("segmentation", network), number)
            (out / path).parent.mkdir(parents=True, exist_ok=True)
            _page({arm: found[arm] for arm in arms}, info.classes, network).save(out / path)
            drawn[path] = f"{network}: masks" + (f" {number}" if number > 1 else "")
    return drawn


def _page(arms: Mapping[Arm, Examples], classes: Sequence[str], network: str) -> Any:
    """Rows are test images, columns the image, its true mask and what each arm found; maps below those."""
    from PIL import Image, ImageDraw

    first = next(iter(arms.values()))
    heads = ["test image", "true mask", *(arm.label for arm in arms)]
    names, left = side_names(first.labels, classes)
    top = PAD + 2 * (TEXT + 5) + max(len(broken(head)) for head in heads) * LINE
    step = 2 * TILE + LINE + 2 * GAP
    width = max(left + len(heads) * (TILE + GAP) + PAD, LEAST_WIDTH)
    foot = wrapped(CAPTION, width - 2 * PAD)
    bottom = top + len(names) * step + PAD
    canvas = Image.new("RGB", (width, bottom + LEGEND + len(foot) * LINE + PAD), WHITE)
    draw = ImageDraw.Draw(canvas)
    layer = next((e.layer for e in arms.values() if e.layer), "")
    draw.text((PAD, PAD), f"What {network} finds, by arm", fill=INK, font=font(TEXT + 3))
    draw.text((width - PAD, PAD + 2), layer, fill=INK, font=font(), anchor="ra")
    write_heads(draw, heads, left, top - GAP)
    for row, name in enumerate(names):
        y, (image, true) = top + row * step, (first.images[row], first.true[row])
        nothing = np.zeros_like(true)
        draw.multiline_text((PAD, y + TILE // 2), name, fill=INK, font=font(), anchor="lm")
        draw.text((PAD, y + TILE + LINE + TILE // 2), "Grad-CAM", fill=INK, font=font(), anchor="lm")
        canvas.paste(_marked(image, nothing, nothing), (left, y))
        canvas.paste(_marked(image, nothing, true), (left + TILE + GAP, y))
        for column, e in enumerate(arms.values(), start=2):
            x = left + column * (TILE + GAP)
            canvas.paste(_marked(image, e.found[row], true), (x, y))
            draw.text((x, y + TILE + 1), f"{dice(true, e.found[row]):.2f}", fill=INK, font=font())
            overlay(canvas, draw, image, e.maps[row] if len(e.maps) else None, (x, y + TILE + LINE + 2))
    legend(canvas, draw, (PAD, bottom), "evidence for what was found, relative to the map's own maximum")
    draw.multiline_text((PAD, bottom + LEGEND), "\n".join(foot), fill=INK, font=font())
    return canvas


def _marked(image: Uint8Images, found: npt.NDArray[np.uint8], true: npt.NDArray[np.uint8]) -> Any:
    """Return the enlarged image with what was found tinted, and the true mask's outline."""
    from PIL import Image

    pixels = np.asarray(enlarged(image)).astype(np.float64)
    inside, edge = (np.asarray(enlarged(mask)) != 0 for mask in (found, true))
    edge = outline(edge)
    pixels[inside] = (1 - TINT) * pixels[inside] + TINT * np.array(ORANGE)
    pixels[edge] = BLUE
    return Image.fromarray(np.rint(pixels).astype(np.uint8))
