"""Masks that each arm's segmentation network found in the same test images, beside the true ones.

By Pillow; they hold data-set images. The true outline is blue, what was found is tinted orange (Okabe & Ito 2008).
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from textwrap import wrap
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from bench.metrics.overlap import dice, outline
from bench.report.charts.pages import even, numbered
from bench.report.info import Arm, ReportInfo
from bench.report.records.rows import Rows
from bench.types import ResultRow, Uint8Images

ARRAYS: Final = ("images", "true", "found", "labels", "paths")
ARMS: Final = 7  # side by side on a page
TILE: Final = 128  # px
GAP, TEXT, PAD, LINE = 6, 12, 12, 16
TINT = 0.45
WHITE, INK, TRUE, FOUND = (255, 255, 255), (20, 20, 20), (0, 114, 178), (230, 159, 0)


@dataclass(frozen=True)
class Examples:
    """What stage segmenter left: images uint8 [K, H, W, 3], masks uint8 [K, H, W], labels [K], paths [K]."""

    images: Uint8Images
    true: npt.NDArray[np.uint8]
    found: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    paths: npt.NDArray[np.str_]


def draw_segmentations(rows: Rows, info: ReportInfo, root: Path, out: Path) -> dict[str, str]:
    """Draw ``out/pictures/segmentation_<network>.png``, on as many pages as arms need.

    Returns what each shows, by path relative to ``out``; nothing of a network that has found nothing yet.
    """
    drawn: dict[str, str] = {}
    for name in info.segmenters:
        found = _examples(rows, info, name, root)
        for number, arms in enumerate(even(list(found), ARMS), start=1):
            path = numbered(f"pictures/segmentation_{re.sub(r'[^A-Za-z0-9_.-]', '_', name)}", number)
            (out / path).parent.mkdir(parents=True, exist_ok=True)
            _page({arm: found[arm] for arm in arms}, info.classes, name).save(out / path)
            drawn[path] = f"{name}: masks" + (f" {number}" if number > 1 else "")
    return drawn


def _examples(rows: Rows, info: ReportInfo, name: str, root: Path) -> dict[Arm, Examples]:
    """Return the examples of a network by arm, in their order, of the first pair that has any."""
    for pair in info.pairs:
        found: dict[Arm, Examples] = {}
        for arm in info.arms:
            row = rows.classifier("segmenter", arm, name, pair)
            read = _read(row, root) if row and row.status == "done" and row.folder else None
            if read and all(np.array_equal(read.paths, e.paths) for e in list(found.values())[:1]):
                found[arm] = read
        if found:
            return found
    return {}


def _read(row: ResultRow, root: Path) -> Examples | None:
    """Return what a cell's file holds, None for one that is gone or damaged."""
    try:
        with np.load(root / row.folder / "examples.npz", allow_pickle=False) as stored:
            return Examples(**{name: stored[name] for name in ARRAYS})
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def _page(arms: Mapping[Arm, Examples], classes: Sequence[str], name: str) -> Any:
    """Rows are test images, columns the image, its true mask and what each arm found."""
    from PIL import Image, ImageDraw

    first = next(iter(arms.values()))
    heads = [["test image"], ["true mask"], *(_broken(arm.label) for arm in arms)]
    names = ["\n".join(wrap(classes[label].replace("_", " "), 14)) for label in first.labels]
    left = max(max(int(_font().getlength(line)) for line in name.split("\n")) for name in names) + 2 * PAD
    top = PAD + 2 * LINE + max(map(len, heads)) * LINE
    step = TILE + LINE + GAP
    size = max(left + len(heads) * (TILE + GAP) + PAD, 480), top + len(names) * step + PAD
    canvas = Image.new("RGB", size, WHITE)
    draw = ImageDraw.Draw(canvas)
    title = f"What {name} finds, by arm: orange what was found, blue the true outline, below the Dice of the image"
    draw.text((PAD, PAD), title, fill=INK, font=_font())
    for column, lines in enumerate(heads):
        at = (left + column * (TILE + GAP), top - len(lines) * LINE - 2)
        draw.multiline_text(at, "\n".join(lines), fill=INK, font=_font())
    for row, label in enumerate(names):
        y = top + row * step
        draw.multiline_text((PAD, y + TILE // 2), label, fill=INK, font=_font(), anchor="lm")
        image, true = first.images[row], first.true[row]
        nothing = np.zeros_like(true)
        canvas.paste(_shown(image, nothing, nothing), (left, y))
        canvas.paste(_shown(image, nothing, true), (left + TILE + GAP, y))
        for column, e in enumerate(arms.values(), start=2):
            x = left + column * (TILE + GAP)
            canvas.paste(_shown(image, e.found[row], true), (x, y))
            draw.text((x, y + TILE + 1), f"{dice(true, e.found[row]):.2f}", fill=INK, font=_font())
    return canvas


def _shown(image: Uint8Images, found: npt.NDArray[np.uint8], true: npt.NDArray[np.uint8]) -> Any:
    """Return the enlarged image with what was found tinted, and the true mask's outline."""
    from PIL import Image

    pixels = np.asarray(_enlarged(image)).astype(np.float64)
    inside, edge = (np.asarray(_enlarged(mask)) != 0 for mask in (found, true))
    edge = outline(edge)
    pixels[inside] = (1 - TINT) * pixels[inside] + TINT * np.array(FOUND)
    pixels[edge] = TRUE
    return Image.fromarray(np.rint(pixels).astype(np.uint8))


def _enlarged(image: npt.NDArray[np.uint8]) -> Any:
    from PIL import Image

    small = max(image.shape[:2]) < TILE or image.ndim == 2
    how = Image.Resampling.NEAREST if small else Image.Resampling.LANCZOS
    return Image.fromarray(image).resize((TILE, TILE), how)


def _broken(head: str) -> list[str]:
    """Break an arm's name at its underscores and spaces so that it fits above its column."""
    lines = [""]
    for part in re.findall(r"[^_ ]*[_ ]?", head):
        if lines[-1] and _font().getlength(lines[-1] + part) > TILE:
            lines.append("")
        lines[-1] += part
    return lines


@cache
def _font() -> Any:
    """Return DejaVu Sans, which comes with matplotlib: Pillow's own font lacks signs such as ×."""
    import matplotlib
    from PIL import ImageFont

    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf", TEXT)
