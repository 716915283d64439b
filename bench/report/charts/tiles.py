"""Test images under every arm side by side: what the pictures of explanations and of segmentations are made of.

By Pillow; they hold data-set images. Colours of maps are of matplotlib's perceptually uniform map viridis, over the
image in grey, so that colour means the map alone.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from textwrap import wrap
from typing import Any, Final, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from bench.report.info import Arm, ReportInfo
from bench.report.records.rows import Rows
from bench.types import ResultRow, Uint8Images

ARMS: Final = 7  # side by side on a page
TILE: Final = 128  # px; small images are enlarged without smoothing, so that their pixels show
GAP, TEXT, PAD, BAR = 6, 12, 12, (180, 12)
LINE: Final = TEXT + 4
COLOURS, ALPHA = "viridis", 0.55
WHITE, INK = (255, 255, 255), (20, 20, 20)
BLUE, ORANGE, VERMILLION = (0, 114, 178), (230, 159, 0), (213, 94, 0)  # Okabe & Ito 2008


class Shown(Protocol):
    """What a cell left of a few test images."""

    @property
    def paths(self) -> npt.NDArray[np.str_]:
        """Whose they are."""


S = TypeVar("S", bound=Shown)


def by_arm(
    rows: Rows, info: ReportInfo, stage: str, network: str, read: Callable[[ResultRow], S | None]
) -> dict[Arm, S]:
    """Return what cells of a stage left of a network, by arm in their order, of the first pair that has any.

    Arms that were shown other images than the first of them are left out, and files that ``read`` finds no good.
    """
    for pair in info.pairs:
        found: dict[Arm, S] = {}
        for arm in info.arms:
            row = rows.classifier(stage, arm, network, pair)
            one = read(row) if row and row.status == "done" and row.folder else None
            if one and all(np.array_equal(one.paths, other.paths) for other in list(found.values())[:1]):
                found[arm] = one
        if found:
            return found
    return {}


def arrays(path: Path, names: Sequence[str]) -> dict[str, Any] | None:
    """Return those arrays of a cell's file, None for one that is gone or damaged."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in names}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def layer_of(row: ResultRow) -> str:
    """Say what a cell's maps were computed on; '' for a cell without."""
    grid = " × ".join(str(n) for n in row.facts.get("grid", ()))
    return f"layer {row.facts['layer']}, {grid} cells" if grid else ""


def picture_name(kind: str, network: str) -> str:
    """Return the path of a network's picture without its number: 'pictures/explanations_small_cnn'."""
    return f"pictures/{kind}_{re.sub(r'[^A-Za-z0-9_.-]', '_', network)}"


def side_names(labels: npt.NDArray[np.int64], classes: Sequence[str]) -> tuple[list[str], int]:
    """Return what stands left of each row of images, and how wide it is."""
    names = ["\n".join(wrap(classes[label].replace("_", " "), 14)) for label in labels]
    return names, max(int(font().getlength(line)) for name in names for line in name.split("\n")) + 2 * PAD


def write_heads(draw: Any, heads: Sequence[str], left: int, bottom: int) -> None:
    """Write the columns' heads, each above its column."""
    for column, head in enumerate(heads):
        lines = broken(head)
        at = (left + column * (TILE + GAP), bottom - len(lines) * LINE)
        draw.multiline_text(at, "\n".join(lines), fill=INK, font=font())


def overlay(
    canvas: Any, draw: Any, image: Uint8Images, found: npt.NDArray[np.float16] | None, at: tuple[int, int]
) -> None:
    """Paste a map over its image in grey; the grey image alone, with words, where there is none or it is empty."""
    from PIL import Image

    grey = enlarged(image).convert("L").convert("RGB")
    if found is None or not found.any():
        canvas.paste(grey, at)
        middle = (at[0] + TILE // 2, at[1] + TILE // 2)
        text = "no map" if found is None else "empty map"
        draw.text(middle, text, WHITE, font(), "mm", stroke_width=2, stroke_fill=INK)
        return
    smooth = Image.fromarray(found.astype(np.float32)).resize((TILE, TILE), Image.Resampling.BILINEAR)
    levels = np.rint(255 * np.clip(np.asarray(smooth), 0, 1)).astype(np.uint8)
    canvas.paste(Image.blend(grey, Image.fromarray(_colours()[levels]), ALPHA), at)


def legend(canvas: Any, draw: Any, at: tuple[int, int], words: str) -> None:
    """Draw the strip of colours as they look over mid-grey, and what its ends mean; ``LEGEND`` high."""
    from PIL import Image

    x, y = at
    strip = np.repeat(_colours()[np.linspace(0, 255, BAR[0]).astype(np.uint8)][None], BAR[1], axis=0)
    grey = Image.new("RGB", BAR, (128, 128, 128))
    canvas.paste(Image.blend(grey, Image.fromarray(strip), ALPHA), at)
    for value, anchor, dx in (("none", "la", 0), ("most", "ra", BAR[0])):
        draw.text((x + dx, y + BAR[1] + 3), value, fill=INK, font=font(), anchor=anchor)
    draw.text((x + BAR[0] + PAD, y + BAR[1] // 2), words, fill=INK, font=font(), anchor="lm")


LEGEND: Final = BAR[1] + TEXT + 2 * PAD


def enlarged(image: npt.NDArray[np.uint8]) -> Any:
    """Return an image [H, W, 3] or a mask [H, W] as a tile."""
    from PIL import Image

    coarse = max(image.shape[:2]) < TILE or image.ndim == 2
    how = Image.Resampling.NEAREST if coarse else Image.Resampling.LANCZOS
    return Image.fromarray(image).resize((TILE, TILE), how)


def broken(head: str) -> list[str]:
    """Break an arm's name at its underscores and spaces so that it fits above its column."""
    lines = [""]
    for part in re.findall(r"[^_ ]*[_ ]?", head):
        if lines[-1] and font().getlength(lines[-1] + part) > TILE:
            lines.append("")
        lines[-1] += part
    return lines


def wrapped(text: str, width: int) -> list[str]:
    """Break a text into lines of about ``width`` px."""
    return wrap(text, int(0.97 * width * len(text) / font().getlength(text)))


def _colours() -> npt.NDArray[np.uint8]:
    """Return the colours of levels 0 to 255, uint8 [256, 3]."""
    import matplotlib

    return np.rint(255 * matplotlib.colormaps[COLOURS](np.arange(256))[:, :3]).astype(np.uint8)


@cache
def font(size: int = TEXT) -> Any:
    """Return DejaVu Sans, which comes with matplotlib: Pillow's own font lacks signs such as ×."""
    import matplotlib
    from PIL import ImageFont

    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf", size)
