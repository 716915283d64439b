"""Pages of test images for every arm side by side, used for explanations and segmentations.

Drawn with Pillow; they contain images of the data set. Maps use matplotlib's perceptually uniform colours viridis
over the grey image, so that colour shows only the map.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path
from textwrap import wrap
from typing import Any, Final, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from bench.analysis.info import ReportInfo
from bench.analysis.rows import Rows
from bench.files import atomic_path
from bench.report.charts.pages import numbered
from bench.suite.arms import Arm
from bench.types import ResultRow, Uint8Images

ARMS: Final = 7  # side by side on a page
TILE: Final = 128  # px; small images are enlarged without smoothing, so that pixels stay visible
GAP, TEXT, PAD, BAR = 6, 12, 12, (180, 12)
LINE: Final = TEXT + 4
LEGEND: Final = BAR[1] + TEXT + 2 * PAD
LEAST_WIDTH: Final = 640
BELOW: Final = TILE + LINE + 2  # from a row's first line of tiles to its second
COLOURS, ALPHA = "viridis", 0.55
WHITE, INK = (255, 255, 255), (20, 20, 20)
BLUE, ORANGE, VERMILLION = (0, 114, 178), (230, 159, 0), (213, 94, 0)  # Okabe & Ito 2008


class Shown(Protocol):
    """Output of a cell for a few test images."""

    @property
    def paths(self) -> npt.NDArray[np.str_]:
        """Paths of the images."""


S = TypeVar("S", bound=Shown)


def by_arm(
    rows: Rows, info: ReportInfo, stage: str, network: str, read: Callable[[ResultRow], S | None]
) -> dict[Arm, S]:
    """Return the output of a stage for a network by arm, from the first pair that has any.

    Arms with other test images than the first arm are omitted, and files that ``read`` rejects.
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
    """Return the named arrays of a cell's file; None if it is missing or damaged."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in names}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def layer_of(row: ResultRow) -> str:
    """Return the layer of a cell's maps; '' without maps."""
    grid = " × ".join(str(n) for n in row.facts.get("grid", ()))
    return f"layer {row.facts['layer']}, {grid} cells" if grid else ""


class Sheet:
    """A page of tiles: title, column headings, row names, legend of the maps, caption.

    ``labels`` [K] are the classes of the rows. Each row has one line of tiles, or two if ``second`` names the second.
    ``layer`` describes the layer of the maps, ``evidence`` their content.
    """

    def __init__(
        self,
        title: str,
        layer: str,
        heads: Sequence[str],
        labels: npt.NDArray[np.int64],
        classes: Sequence[str],
        evidence: str,
        caption: str,
        second: str = "",
    ) -> None:
        from PIL import Image, ImageDraw

        names = ["\n".join(wrap(classes[label].replace("_", " "), 14)) for label in labels]
        beside = [line for name in (*names, second) for line in name.split("\n")]
        self._left = max(int(_font().getlength(line)) for line in beside) + 2 * PAD
        self._top = PAD + 2 * (TEXT + 5) + max(len(_broken(head)) for head in heads) * LINE
        self._row_px = (BELOW + TILE if second else TILE + TEXT) + 2 * GAP
        width = max(self._left + len(heads) * (TILE + GAP) + PAD, LEAST_WIDTH)
        foot = wrap(caption, int(0.97 * (width - 2 * PAD) * len(caption) / _font().getlength(caption)))
        bottom = self._top + len(names) * self._row_px + PAD
        self.canvas = Image.new("RGB", (width, bottom + LEGEND + len(foot) * LINE + PAD), WHITE)
        self._draw = ImageDraw.Draw(self.canvas)
        self._draw.text((PAD, PAD), title, fill=INK, font=_font(TEXT + 3))
        self._draw.text((width - PAD, PAD + 2), layer, fill=INK, font=_font(), anchor="ra")
        for column, head in enumerate(map(_broken, heads)):
            at = (self._left + column * (TILE + GAP), self._top - GAP - len(head) * LINE)
            self._draw.multiline_text(at, "\n".join(head), fill=INK, font=_font())
        for row, name in enumerate(names):
            for text, down in ((name, 0), (second, BELOW)):
                middle = self._top + row * self._row_px + down + TILE // 2
                self._draw.multiline_text((PAD, middle), text, fill=INK, font=_font(), anchor="lm")
        self._legend((PAD, bottom), evidence)
        self._draw.multiline_text((PAD, bottom + LEGEND), "\n".join(foot), fill=INK, font=_font())

    def at(self, row: int, column: int, line: int = 0) -> tuple[int, int]:
        """Return the upper left corner of a tile in the first (0) or second (1) line of a row."""
        return self._left + column * (TILE + GAP), self._top + row * self._row_px + line * BELOW

    def overlay(self, image: Uint8Images, found: npt.NDArray[np.float16] | None, at: tuple[int, int]) -> None:
        """Paste a map over its grey image; without a map or with an empty one, the grey image and a note."""
        from PIL import Image

        grey = enlarged(image).convert("L").convert("RGB")
        if found is None or not found.any():
            self.canvas.paste(grey, at)
            middle = (at[0] + TILE // 2, at[1] + TILE // 2)
            text = "no map" if found is None else "empty map"
            self._draw.text(middle, text, WHITE, _font(), "mm", stroke_width=2, stroke_fill=INK)
            return
        smooth = Image.fromarray(found.astype(np.float32)).resize((TILE, TILE), Image.Resampling.BILINEAR)
        levels = np.rint(255 * np.clip(np.asarray(smooth), 0, 1)).astype(np.uint8)
        self.canvas.paste(Image.blend(grey, Image.fromarray(_colours()[levels]), ALPHA), at)

    def note(self, text: str, at: tuple[int, int]) -> None:
        """Write text below a tile."""
        self._draw.text((at[0], at[1] + TILE + 1), text, fill=INK, font=_font())

    def verdict(self, name: str, number: str, right: bool, at: tuple[int, int]) -> None:
        """Write a name, cut to fit, and a number below a tile, after a tick or a cross."""
        x, y = at[0], at[1] + TILE + GAP // 2
        marks = [[(0, 6), (3, 10), (9, 1)]] if right else [[(1, 2), (9, 10)], [(1, 10), (9, 2)]]
        for mark in marks:
            self._draw.line([(x + dx, y + dy + 2) for dx, dy in mark], fill=BLUE if right else VERMILLION, width=2)
        room = TILE - 14 - _font().getlength(f" {number}")
        while _font().getlength(name) > room:
            name = name.rstrip("…")[:-1] + "…"
        self._draw.text((x + 14, y), f"{name} {number}", fill=INK if right else VERMILLION, font=_font())

    def _legend(self, at: tuple[int, int], evidence: str) -> None:
        """Draw the colour bar over mid-grey, with labels at its ends."""
        from PIL import Image

        x, y = at
        strip = np.repeat(_colours()[np.linspace(0, 255, BAR[0]).astype(np.uint8)][None], BAR[1], axis=0)
        grey = Image.new("RGB", BAR, (128, 128, 128))
        self.canvas.paste(Image.blend(grey, Image.fromarray(strip), ALPHA), at)
        for value, anchor, dx in (("none", "la", 0), ("most", "ra", BAR[0])):
            self._draw.text((x + dx, y + BAR[1] + 3), value, fill=INK, font=_font(), anchor=anchor)
        words = f"evidence for {evidence}, relative to the map's own maximum"
        self._draw.text((x + BAR[0] + PAD, y + BAR[1] // 2), words, fill=INK, font=_font(), anchor="lm")


def save(sheets: Iterable[Sheet], kind: str, network: str, what: str, out: Path) -> dict[str, str]:
    """Write a network's pages to ``out/pictures/<kind>_<network>.png`` and on; return titles by path."""
    saved: dict[str, str] = {}
    name = re.sub(r"[^A-Za-z0-9_.-]", "_", network)
    for number, sheet in enumerate(sheets, start=1):
        path = numbered(f"pictures/{kind}_{name}", number)
        with atomic_path(out / path) as temporary:
            sheet.canvas.save(temporary)
        saved[path] = f"{network}: {what}" + (f" {number}" if number > 1 else "")
    return saved


def enlarged(image: npt.NDArray[np.uint8]) -> Any:
    """Return an image [H, W, 3] or a mask [H, W] as a tile."""
    from PIL import Image

    coarse = max(image.shape[:2]) < TILE or image.ndim == 2
    how = Image.Resampling.NEAREST if coarse else Image.Resampling.LANCZOS
    return Image.fromarray(image).resize((TILE, TILE), how)


def _broken(head: str) -> list[str]:
    """Break an arm's name at its underscores and spaces so that it fits above its column."""
    lines = [""]
    for part in re.findall(r"[^_ ]*[_ ]?", head):
        if lines[-1] and _font().getlength(lines[-1] + part) > TILE:
            lines.append("")
        lines[-1] += part
    return lines


def _colours() -> npt.NDArray[np.uint8]:
    """Return the colours of levels 0 to 255, uint8 [256, 3]."""
    import matplotlib

    return np.rint(255 * matplotlib.colormaps[COLOURS](np.arange(256))[:, :3]).astype(np.uint8)


@cache
def _font(size: int = TEXT) -> Any:
    """Return DejaVu Sans, which comes with matplotlib: Pillow's own font lacks signs such as ×."""
    import matplotlib
    from PIL import ImageFont

    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf", size)
