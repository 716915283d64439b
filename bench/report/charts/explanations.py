"""Grad-CAM overlays of the same test images for every arm, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from bench.analysis.info import ReportInfo
from bench.analysis.rows import Rows
from bench.report.charts.pages import even
from bench.report.charts.tiles import ARMS, Sheet, arrays, by_arm, enlarged, layer_of, save
from bench.suite.arms import Arm
from bench.types import ResultRow, Uint8Images

CAPTION: Final = (
    "Grad-CAM (Selvaraju et al. 2017): regions that support the true class, on test images of the first fold, the "
    "same for all arms and not used for training. Below each: the predicted class and its probability, with a tick "
    "if correct and a cross if wrong. The resolution of a map is that of its layer, and each map is scaled by its "
    "own maximum: colours are comparable within a map, not between maps. Qualitative: a map shows where the network "
    "looked, not whether that was justified, and a few images prove nothing about an arm."
)
ARRAYS: Final = ("images", "maps", "labels", "probabilities", "paths")


@dataclass(frozen=True)
class Explained:
    """Output of stage explain: images uint8 [K, H, W, 3], maps [K, H, W] or [0, H, W], labels [K], probabilities.

    ``layer`` says in words what the maps were computed on.
    """

    images: Uint8Images
    maps: npt.NDArray[np.float16]
    labels: npt.NDArray[np.int64]
    probabilities: npt.NDArray[np.float64]
    paths: npt.NDArray[np.str_]
    layer: str = ""


def draw_explanations(rows: Rows, info: ReportInfo, root: Path, out: Path) -> dict[str, str]:
    """Draw ``out/pictures/explanations_<classifier>.png``, on as many pages as arms need.

    Returns what each shows, by path relative to ``out``; nothing of a classifier that was not explained.
    """

    def read(row: ResultRow) -> Explained | None:
        stored = arrays(root / row.folder / "explanations.npz", ARRAYS)
        return Explained(**stored, layer=layer_of(row)) if stored else None

    drawn: dict[str, str] = {}
    for classifier in info.classifiers:
        found = by_arm(rows, info, "explain", classifier, read)
        if any(len(e.maps) for e in found.values()):
            first, *others = found
            pages = list(even(others, ARMS - 1)) or [[]]
            sheets = (_sheet({a: found[a] for a in (first, *arms)}, info.classes, classifier) for arms in pages)
            drawn |= save(sheets, "explanations", classifier, "Grad-CAM", out)
    return drawn


def _sheet(arms: Mapping[Arm, Explained], classes: Sequence[str], classifier: str) -> Sheet:
    """Return a page with test images as rows, and the image and each arm's overlay as columns."""
    first = next(iter(arms.values()))
    sheet = Sheet(
        f"Grad-CAM of {classifier}, by arm",
        next((e.layer for e in arms.values() if e.layer), ""),
        ["test image", *(arm.label for arm in arms)],
        first.labels,
        classes,
        "the true class",
        CAPTION,
    )
    for row, image in enumerate(first.images):
        sheet.canvas.paste(enlarged(image), sheet.at(row, 0))
        for column, e in enumerate(arms.values(), start=1):
            sheet.overlay(image, e.maps[row] if len(e.maps) else None, sheet.at(row, column))
            predicted = int(e.probabilities[row].argmax())
            name, right = classes[predicted].replace("_", " "), predicted == e.labels[row]
            sheet.verdict(name, f"{e.probabilities[row, predicted]:.2f}", bool(right), sheet.at(row, column))
    return sheet
