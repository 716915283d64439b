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

from bench.analysis.info import Arm, ReportInfo
from bench.analysis.rows import Rows
from bench.metrics.overlap import dice, outline
from bench.report.charts.pages import even
from bench.report.charts.tiles import (
    ARMS,
    BLUE,
    ORANGE,
    Sheet,
    arrays,
    by_arm,
    enlarged,
    layer_of,
    save,
)
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
    for network in info.segmentation_networks:
        found = by_arm(rows, info, "segmenter", network, read)
        pages = even(list(found), ARMS)
        sheets = (_sheet({arm: found[arm] for arm in arms}, info.classes, network) for arms in pages)
        drawn |= save(sheets, "segmentation", network, "masks", out)
    return drawn


def _sheet(arms: Mapping[Arm, Examples], classes: Sequence[str], network: str) -> Sheet:
    """Rows are test images, columns the image, its true mask and what each arm found; maps below those."""
    first = next(iter(arms.values()))
    sheet = Sheet(
        f"What {network} finds, by arm",
        next((e.layer for e in arms.values() if e.layer), ""),
        ["test image", "true mask", *(arm.label for arm in arms)],
        first.labels,
        classes,
        "what was found",
        CAPTION,
        second="Grad-CAM",
    )
    for row, (image, true) in enumerate(zip(first.images, first.true, strict=True)):
        nothing = np.zeros_like(true)
        sheet.canvas.paste(_marked(image, nothing, nothing), sheet.at(row, 0))
        sheet.canvas.paste(_marked(image, nothing, true), sheet.at(row, 1))
        for column, e in enumerate(arms.values(), start=2):
            sheet.canvas.paste(_marked(image, e.found[row], true), sheet.at(row, column))
            sheet.note(f"{dice(true, e.found[row]):.2f}", sheet.at(row, column))
            sheet.overlay(image, e.maps[row] if len(e.maps) else None, sheet.at(row, column, line=1))
    return sheet


def _marked(image: Uint8Images, found: npt.NDArray[np.uint8], true: npt.NDArray[np.uint8]) -> Any:
    """Return the enlarged image with what was found tinted, and the true mask's outline."""
    from PIL import Image

    pixels = np.asarray(enlarged(image)).astype(np.float64)
    inside, edge = (np.asarray(enlarged(mask)) != 0 for mask in (found, true))
    edge = outline(edge)
    pixels[inside] = (1 - TINT) * pixels[inside] + TINT * np.array(ORANGE)
    pixels[edge] = BLUE
    return Image.fromarray(np.rint(pixels).astype(np.uint8))
