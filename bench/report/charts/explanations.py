"""Grad-CAM overlays: the same test images under every arm, before and after augmentation side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from bench.report.charts.pages import even, numbered
from bench.report.charts.tiles import (
    ARMS,
    BLUE,
    GAP,
    INK,
    LEGEND,
    LINE,
    PAD,
    TEXT,
    TILE,
    VERMILLION,
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
    "Grad-CAM (Selvaraju et al. 2017): where a network finds what speaks for an image's true class, on test images of "
    "the first fold that no arm has trained on, the same for all arms. Below each: the class predicted and its "
    "probability, with a tick where it is right and a cross where it is wrong. A map is as coarse as the grid of the "
    "layer that it was computed on, and scaled by its own maximum: colours tell places within a map, not how much one "
    "map has beside another. Qualitative: a map says where the network looked, not that it was right to, and a few "
    "images prove nothing about an arm."
)
ARRAYS: Final = ("images", "maps", "labels", "probabilities", "paths")
LEAST_WIDTH: Final = 640


@dataclass(frozen=True)
class Explained:
    """What stage explain left: images uint8 [K, H, W, 3], maps [K, H, W] or [0, H, W], labels [K], probabilities.

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
        if not any(len(e.maps) for e in found.values()):
            continue
        first, *others = found
        for number, arms in enumerate(list(even(others, ARMS - 1)) or [[]], start=1):
            path = numbered(picture_name("explanations", classifier), number)
            (out / path).parent.mkdir(parents=True, exist_ok=True)
            _page({arm: found[arm] for arm in (first, *arms)}, info.classes, classifier).save(out / path)
            drawn[path] = f"{classifier}: Grad-CAM" + (f" {number}" if number > 1 else "")
    return drawn


def _page(arms: Mapping[Arm, Explained], classes: Sequence[str], classifier: str) -> Any:
    """Rows are test images, columns the image itself and each arm's overlay."""
    from PIL import Image, ImageDraw

    first = next(iter(arms.values()))
    heads = ["test image", *(arm.label for arm in arms)]
    names, left = side_names(first.labels, classes)
    top = PAD + 2 * (TEXT + 5) + max(len(broken(head)) for head in heads) * LINE
    step = TILE + TEXT + 2 * GAP
    width = max(left + len(heads) * (TILE + GAP) + PAD, LEAST_WIDTH)
    foot = wrapped(CAPTION, width - 2 * PAD)
    bottom = top + len(names) * step + PAD
    canvas = Image.new("RGB", (width, bottom + LEGEND + len(foot) * LINE + PAD), WHITE)
    draw = ImageDraw.Draw(canvas)
    layer = next((e.layer for e in arms.values() if e.layer), "")
    draw.text((PAD, PAD), f"Where {classifier} looks, by arm", fill=INK, font=font(TEXT + 3))
    draw.text((width - PAD, PAD + 2), layer, fill=INK, font=font(), anchor="ra")
    write_heads(draw, heads, left, top - GAP)
    for row, name in enumerate(names):
        y = top + row * step
        draw.multiline_text((PAD, y + TILE // 2), name, fill=INK, font=font(), anchor="lm")
        canvas.paste(enlarged(first.images[row]), (left, y))
        for column, explained in enumerate(arms.values(), start=1):
            x = left + column * (TILE + GAP)
            overlay(canvas, draw, first.images[row], explained.maps[row] if len(explained.maps) else None, (x, y))
            _verdict(draw, explained, row, classes, (x, y + TILE + GAP // 2))
    legend(canvas, draw, (PAD, bottom), "evidence for the true class, relative to the map's own maximum")
    draw.multiline_text((PAD, bottom + LEGEND), "\n".join(foot), fill=INK, font=font())
    return canvas


def _verdict(draw: Any, explained: Explained, row: int, classes: Sequence[str], at: tuple[int, int]) -> None:
    """Write the class predicted and its probability, after a tick or a cross."""
    predicted = int(explained.probabilities[row].argmax())
    probability = float(explained.probabilities[row, predicted])
    right = predicted == explained.labels[row]
    x, y = at
    marks = [[(0, 6), (3, 10), (9, 1)]] if right else [[(1, 2), (9, 10)], [(1, 10), (9, 2)]]
    for mark in marks:
        draw.line([(x + dx, y + dy + 2) for dx, dy in mark], fill=BLUE if right else VERMILLION, width=2)
    number = f" {probability:.2f}"
    name = classes[predicted].replace("_", " ")
    room = TILE - 14 - font().getlength(number)
    while font().getlength(name) > room:
        name = name.rstrip("…")[:-1] + "…"
    draw.text((x + 14, y), name + number, fill=INK if right else VERMILLION, font=font())
