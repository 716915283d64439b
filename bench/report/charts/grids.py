"""Picture grids of real and synthetic images by class, drawn with Pillow. They contain images of the data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from bench.analysis.info import ReportInfo
from bench.analysis.rows import Rows
from bench.files import atomic_path, write_atomic
from bench.report.charts.explanations import draw_explanations
from bench.report.charts.pages import even, numbered
from bench.report.charts.segmentations import draw_segmentations
from bench.suite.arms import Arm

# pictures saved by stages with ``ctx.save_images``: (stage, name) -> title
SAMPLES: Final = {
    ("memorised", "closest_pairs"): "closest pairs",
    ("translate", "real_translation_reconstruction"): "translations",
}
METHODS: Final = 8  # side by side in an overview
TILE: Final = 96  # px; small images are enlarged without smoothing, so that pixels stay visible
GAP: Final = 3
BLOCK: Final = (2, 3)  # columns and rows of images for each method in the overview
STRIP: Final = 10  # images in a row of a method's own grid
TEXT: Final = 15
WHITE, INK = (255, 255, 255), (20, 20, 20)
Pictures = Mapping[str, Sequence[Path]]  # class name -> images


def draw_grids(rows: Rows, info: ReportInfo, root: Path, out: Path) -> dict[str, str]:
    """Draw ``out/pictures/overview.png`` and one grid for each method, and copy the pictures saved by stages.

    Returns titles by path relative to ``out``.
    """
    made = {m: _synthetic(rows, info, m, root) for m in info.generative}
    made = {m: found for m, found in made.items() if any(found.values())}
    real = {c: [p for p in info.real_images.get(c, ()) if p.is_file()] for c in info.classes}
    samples = {
        (method, title): source
        for (stage, sample), title in SAMPLES.items()
        for method in info.generative
        if (source := _sample(rows, info, stage, method, sample, root))
    }
    drawn: dict[str, str] = {}
    for number, methods in enumerate(even(list(made), METHODS), start=1):
        name = numbered("pictures/overview", number)
        with atomic_path(out / name) as temporary:
            _overview({"real": real, **{m: made[m] for m in methods}}, info.classes).save(temporary)
        drawn[name] = "overview" if number == 1 else f"overview {number}"
    for method, found in made.items():
        name = f"pictures/{method}.png"
        with atomic_path(out / name) as temporary:
            _strips(method, real, found, info.classes).save(temporary)
        drawn[name] = method
    for (method, title), source in samples.items():
        name = f"pictures/{method}_{title.replace(' ', '_')}.png"
        write_atomic(out / name, source.read_bytes())
        drawn[name] = f"{method}: {title}"
    return drawn | draw_explanations(rows, info, root, out) | draw_segmentations(rows, info, root, out)


def _sample(rows: Rows, info: ReportInfo, stage: str, method: str, name: str, root: Path) -> Path | None:
    """Return the last saved picture of that name, from the first pair that has one."""
    for row in rows.done(stage, method, info.pairs):
        if row.folder and (found := sorted((root / row.folder / "samples").glob(f"{name}_*.png"))):
            return found[-1]
    return None


def _synthetic(rows: Rows, info: ReportInfo, method: str, root: Path) -> dict[str, list[Path]]:
    """Return a few images of each class from the first pair that has any, evenly sampled."""
    for pair in info.pairs:
        row = rows.generator("synthesize", Arm(method), pair)
        folder = root / row.folder if row and row.status == "done" and row.folder else None
        if folder and (folder / "images").is_dir():
            files = {c: sorted((folder / "images" / str(i)).glob("*.png")) for i, c in enumerate(info.classes)}
            return {c: spread(found, STRIP) for c, found in files.items()}
    return {}


def spread(items: Sequence[Path], n: int) -> list[Path]:
    """Return ``n`` evenly spaced items (all if there are fewer)."""
    return [items[i * len(items) // n] for i in range(n)] if len(items) > n else list(items)


def _overview(columns: Mapping[str, Pictures], classes: Sequence[str]) -> Any:
    """Return a picture with classes as rows and real images and methods as columns, one block of images each."""
    from PIL import Image, ImageDraw

    wide, high = (n * (TILE + GAP) for n in BLOCK)
    left, top = _text_width(classes) + 16, 2 * (TEXT + 4) + 6
    pad = 12
    canvas = Image.new("RGB", (left + len(columns) * (wide + pad), top + len(classes) * (high + pad)), WHITE)
    draw = ImageDraw.Draw(canvas)
    for j, (name, pictures) in enumerate(columns.items()):
        x = left + j * (wide + pad)
        _write(draw, (x, top - 4), _wrapped(name, wide), "ld")
        for i, label in enumerate(classes):
            for k, path in enumerate(list(pictures.get(label, ()))[: BLOCK[0] * BLOCK[1]]):
                row, column = divmod(k, BLOCK[0])
                at = (x + column * (TILE + GAP), top + i * (high + pad) + row * (TILE + GAP))
                canvas.paste(_tile(path), at)
    for i, label in enumerate(classes):
        _write(draw, (8, top + i * (high + pad) + high // 2), label, "lm")
    return canvas


def _strips(method: str, real: Pictures, made: Pictures, classes: Sequence[str]) -> Any:
    """Return a picture with two rows for each class: real images, and below them those of the method."""
    from PIL import Image, ImageDraw

    rows = [(f"{c}\n{who}", p.get(c, ())) for c in classes for who, p in (("real", real), (method, made))]
    left = _text_width([line for text, _ in rows for line in text.split("\n")]) + 16
    canvas = Image.new("RGB", (left + STRIP * (TILE + GAP) + 8, 8 + len(rows) * (TILE + GAP + 6)), WHITE)
    draw = ImageDraw.Draw(canvas)
    for i, (text, paths) in enumerate(rows):
        y = 8 + i * (TILE + GAP + 6)
        _write(draw, (8, y + TILE // 2), text, "lm")
        for k, path in enumerate(spread(list(paths), STRIP)):
            canvas.paste(_tile(path), (left + k * (TILE + GAP), y))
    return canvas


def _tile(path: Path) -> Any:
    from PIL import Image

    with Image.open(path) as image:
        small = max(image.size) < TILE
        how = Image.Resampling.NEAREST if small else Image.Resampling.LANCZOS
        return image.convert("RGB").resize((TILE, TILE), how)


def _font() -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(TEXT)


def _text_width(texts: Sequence[str]) -> int:
    return max((int(_font().getlength(t)) for t in texts), default=0)


def _wrapped(name: str, width: int) -> str:
    """Break a long name at its underscores so that it fits above its column."""
    lines = [""]
    for part in name.replace("_", "_\x00").split("\x00"):
        if lines[-1] and _text_width([lines[-1] + part]) > width:
            lines.append("")
        lines[-1] += part
    return "\n".join(lines)


def _write(draw: Any, at: tuple[int, int], text: str, anchor: str) -> None:
    """Draw text of one or more lines; ``at`` is the left edge and, by ``anchor``, the bottom (d) or middle (m)."""
    lines = text.split("\n")
    height = len(lines) * (TEXT + 3)
    top = at[1] - (height if anchor == "ld" else height // 2)
    for i, line in enumerate(lines):
        draw.text((at[0], top + i * (TEXT + 3)), line, fill=INK, font=_font())
