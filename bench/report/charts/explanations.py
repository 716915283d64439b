"""Grad-CAM overlays: the same test images under every arm, before and after augmentation side by side.

By Pillow; they hold data-set images. Colours are of matplotlib's perceptually uniform map viridis, over the image in
grey, so that colour means the map alone.
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

from bench.report.charts.pages import even, numbered
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
ARMS: Final = 7  # overlays side by side on a page
TILE: Final = 128  # px; small images are enlarged without smoothing, so that their pixels show
GAP, TEXT, PAD, BAR = 6, 12, 12, (180, 12)
COLOURS, ALPHA = "viridis", 0.55
WHITE, INK, RIGHT, WRONG = (255, 255, 255), (20, 20, 20), (0, 114, 178), (213, 94, 0)  # Okabe–Ito blue, vermillion


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
    drawn: dict[str, str] = {}
    for classifier in info.classifiers:
        found = _explained(rows, info, classifier, root)
        if not any(len(e.maps) for e in found.values()):
            continue
        first, *others = found
        name = f"pictures/explanations_{re.sub(r'[^A-Za-z0-9_.-]', '_', classifier)}"
        for number, arms in enumerate(list(even(others, ARMS - 1)) or [[]], start=1):
            path = numbered(name, number)
            (out / path).parent.mkdir(parents=True, exist_ok=True)
            _page({arm: found[arm] for arm in (first, *arms)}, info.classes, classifier).save(out / path)
            drawn[path] = f"{classifier}: Grad-CAM" + (f" {number}" if number > 1 else "")
    return drawn


def _explained(rows: Rows, info: ReportInfo, classifier: str, root: Path) -> dict[Arm, Explained]:
    """Return what was explained of a classifier by arm, in their order, of the first pair that has any.

    Arms that were explained on other images than the first of them are left out.
    """
    for pair in info.pairs:
        found: dict[Arm, Explained] = {}
        for arm in info.arms:
            row = rows.classifier("explain", arm, classifier, pair)
            read = _read(row, root) if row and row.status == "done" and row.folder else None
            if read and all(np.array_equal(read.paths, e.paths) for e in list(found.values())[:1]):
                found[arm] = read
        if found:
            return found
    return {}


def _read(row: ResultRow, root: Path) -> Explained | None:
    """Return what a cell's file holds, None for one that is gone or damaged."""
    grid = " × ".join(str(n) for n in row.facts.get("grid", ()))
    layer = f"layer {row.facts['layer']}, {grid} cells" if grid else ""
    try:
        with np.load(root / row.folder / "explanations.npz", allow_pickle=False) as stored:
            return Explained(**{name: stored[name] for name in ARRAYS}, layer=layer)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def _page(arms: Mapping[Arm, Explained], classes: Sequence[str], classifier: str) -> Any:
    """Rows are test images, columns the image itself and each arm's overlay."""
    from PIL import Image, ImageDraw

    first = next(iter(arms.values()))
    heads = ["test image", *(arm.label for arm in arms)]
    names = ["\n".join(wrap(classes[label].replace("_", " "), 14)) for label in first.labels]
    head_lines = max(len(_lines(head)) for head in heads)
    left = max(max(int(_font().getlength(line)) for line in name.split("\n")) for name in names) + 2 * PAD
    top = PAD + 2 * (TEXT + 5) + head_lines * (TEXT + 3)
    step = TILE + TEXT + 2 * GAP
    width = max(left + len(heads) * (TILE + GAP) + PAD, 640)
    foot = _wrapped(CAPTION, width - 2 * PAD)
    height = top + len(names) * step + PAD + BAR[1] + TEXT + 2 * PAD + len(foot) * (TEXT + 4) + PAD
    canvas = Image.new("RGB", (width, height), WHITE)
    draw = ImageDraw.Draw(canvas)
    layer = next((e.layer for e in arms.values() if e.layer), "")
    draw.text((PAD, PAD), f"Where {classifier} looks, by arm", fill=INK, font=_font(TEXT + 3))
    draw.text((width - PAD, PAD + 2), layer, fill=INK, font=_font(), anchor="ra")
    for column, head in enumerate(heads):
        lines = _lines(head)
        for i, line in enumerate(lines):
            y = top - GAP - (len(lines) - i) * (TEXT + 3)
            draw.text((left + column * (TILE + GAP), y), line, fill=INK, font=_font())
    for row, name in enumerate(names):
        y = top + row * step
        draw.multiline_text((PAD, y + TILE // 2), name, fill=INK, font=_font(), anchor="lm")
        canvas.paste(_enlarged(first.images[row]), (left, y))
        for column, explained in enumerate(arms.values(), start=1):
            x = left + column * (TILE + GAP)
            _overlay(canvas, draw, explained, row, (x, y))
            _verdict(draw, explained, row, classes, (x, y + TILE + GAP // 2))
    y = top + len(names) * step + PAD
    _legend(canvas, draw, (PAD, y))
    for i, line in enumerate(foot):
        draw.text((PAD, y + BAR[1] + TEXT + 2 * PAD + i * (TEXT + 4)), line, fill=INK, font=_font())
    return canvas


def _overlay(canvas: Any, draw: Any, explained: Explained, row: int, at: tuple[int, int]) -> None:
    """Paste the map over the image in grey; the grey image alone, with words, where there is none or it is empty."""
    from PIL import Image

    grey = _enlarged(explained.images[row]).convert("L").convert("RGB")
    empty = "no map" if not len(explained.maps) else "" if explained.maps[row].any() else "empty map"
    if empty:
        canvas.paste(grey, at)
        middle = (at[0] + TILE // 2, at[1] + TILE // 2)
        draw.text(middle, empty, WHITE, _font(), "mm", stroke_width=2, stroke_fill=INK)
        return
    found = Image.fromarray(explained.maps[row].astype(np.float32)).resize((TILE, TILE), Image.Resampling.BILINEAR)
    levels = np.rint(255 * np.clip(np.asarray(found), 0, 1)).astype(np.uint8)
    canvas.paste(Image.blend(grey, Image.fromarray(_colours()[levels]), ALPHA), at)


def _verdict(draw: Any, explained: Explained, row: int, classes: Sequence[str], at: tuple[int, int]) -> None:
    """Write the class predicted and its probability, after a tick or a cross."""
    predicted = int(explained.probabilities[row].argmax())
    probability = float(explained.probabilities[row, predicted])
    right = predicted == explained.labels[row]
    x, y = at
    marks = [[(0, 6), (3, 10), (9, 1)]] if right else [[(1, 2), (9, 10)], [(1, 10), (9, 2)]]
    for mark in marks:
        draw.line([(x + dx, y + dy + 2) for dx, dy in mark], fill=RIGHT if right else WRONG, width=2)
    number = f" {probability:.2f}"
    name = classes[predicted].replace("_", " ")
    room = TILE - 14 - _font().getlength(number)
    while _font().getlength(name) > room:
        name = name.rstrip("…")[:-1] + "…"
    draw.text((x + 14, y), name + number, fill=INK if right else WRONG, font=_font())


def _legend(canvas: Any, draw: Any, at: tuple[int, int]) -> None:
    """Draw the strip of colours as they look over mid-grey, and what its ends mean."""
    from PIL import Image

    x, y = at
    strip = np.repeat(_colours()[np.linspace(0, 255, BAR[0]).astype(np.uint8)][None], BAR[1], axis=0)
    grey = Image.new("RGB", BAR, (128, 128, 128))
    canvas.paste(Image.blend(grey, Image.fromarray(strip), ALPHA), at)
    for value, anchor, dx in (("none", "la", 0), ("most", "ra", BAR[0])):
        draw.text((x + dx, y + BAR[1] + 3), value, fill=INK, font=_font(), anchor=anchor)
    words = "evidence for the true class, relative to the map's own maximum"
    draw.text((x + BAR[0] + PAD, y + BAR[1] // 2), words, fill=INK, font=_font(), anchor="lm")


def _colours() -> npt.NDArray[np.uint8]:
    """Return the colours of levels 0 to 255, uint8 [256, 3]."""
    import matplotlib

    return np.rint(255 * matplotlib.colormaps[COLOURS](np.arange(256))[:, :3]).astype(np.uint8)


def _enlarged(image: Uint8Images) -> Any:
    from PIL import Image

    how = Image.Resampling.NEAREST if max(image.shape[:2]) < TILE else Image.Resampling.LANCZOS
    return Image.fromarray(image).resize((TILE, TILE), how)


def _lines(head: str) -> list[str]:
    """Break an arm's name at its underscores and spaces so that it fits above its column."""
    lines = [""]
    for part in re.findall(r"[^_ ]*[_ ]?", head):
        if lines[-1] and _font().getlength(lines[-1] + part) > TILE:
            lines.append("")
        lines[-1] += part
    return lines


def _wrapped(text: str, width: int) -> list[str]:
    return wrap(text, int(0.97 * width * len(text) / _font().getlength(text)))


@cache
def _font(size: int = TEXT) -> Any:
    """Return DejaVu Sans, which comes with matplotlib: Pillow's own font lacks signs such as ×."""
    import matplotlib
    from PIL import ImageFont

    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf", size)
