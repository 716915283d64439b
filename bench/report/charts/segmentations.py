"""Predicted and true masks of the same test images for each arm's segmentation network, with Grad-CAM.

The true outline is blue, the predicted mask is tinted orange; Grad-CAM of the prediction is below.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from bench.analysis.info import ReportInfo
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
from bench.suite.arms import Arm
from bench.types import ResultRow, Uint8Images

CAPTION: Final = (
    "Above: the predicted mask of each arm's network (orange), the true outline (blue), and the Dice of the image. "
    "Below: Grad-CAM of the segmentation (Vinogradova et al. 2020): regions that support the predicted pixels, on the "
    "deepest layer of the encoder, without the skip connections. The resolution is that of the layer; each map is "
    "scaled by its own maximum and empty for an empty prediction. Test images of the first fold, the same for all "
    "arms. Qualitative: a few images prove nothing about an arm."
)
ARRAYS: Final = ("images", "true", "found", "maps", "labels", "paths")
TINT: Final = 0.45


@dataclass(frozen=True)
class Examples:
    """Output of the segmentation stage: images uint8 [K, H, W, 3], masks uint8 [K, H, W], maps [K, H, W] or [0, H, W].

    ``layer`` describes the layer of the maps.
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

    Returns titles by path relative to ``out``; nothing for a network without results.
    """

    def read(row: ResultRow) -> Examples | None:
        stored = arrays(root / row.folder / "examples.npz", ARRAYS)
        return Examples(**stored, layer=layer_of(row)) if stored else None

    drawn: dict[str, str] = {}
    for network in info.segmentation_networks:
        found = by_arm(rows, info, "segmentation", network, read)
        pages = even(list(found), ARMS)
        sheets = (_sheet({arm: found[arm] for arm in arms}, info.classes, network) for arms in pages)
        drawn |= save(sheets, "segmentation", network, "masks", out)
    return drawn


def _sheet(arms: Mapping[Arm, Examples], classes: Sequence[str], network: str) -> Sheet:
    """Return a page with test images as rows; columns are image, true mask and each arm's prediction above its map."""
    first = next(iter(arms.values()))
    sheet = Sheet(
        f"Predictions of {network}, by arm",
        next((e.layer for e in arms.values() if e.layer), ""),
        ["test image", "true mask", *(arm.label for arm in arms)],
        first.labels,
        classes,
        "the predicted mask",
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
    """Return the enlarged image with the predicted mask tinted, and the outline of the true mask."""
    from PIL import Image

    pixels = np.asarray(enlarged(image)).astype(np.float64)
    inside, edge = (np.asarray(enlarged(mask)) != 0 for mask in (found, true))
    edge = outline(edge)
    pixels[inside] = (1 - TINT) * pixels[inside] + TINT * np.array(ORANGE)
    pixels[edge] = BLUE
    return Image.fromarray(np.rint(pixels).astype(np.uint8))
