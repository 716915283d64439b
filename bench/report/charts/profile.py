"""Time, memory and throughput of a profile's combinations, by image size or by batch size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from bench.forecast.profiles import Point
from bench.report.charts.style import LINES, figure, method_looks, plain_log

Value = Callable[[Point], float | None]
PANELS: dict[str, Value] = {
    "seconds per call": lambda p: p.seconds,
    "peak memory (GiB)": lambda p: None if p.peak_memory_bytes is None else p.peak_memory_bytes / 2**30,
    "images per second": lambda p: p.images_per_s,
}
TITLES = {"training": "a training step", "sampling": "image synthesis", "inference": "prediction"}


def draw_profile(points: Sequence[Point], folder: Path, name: str) -> list[Path]:
    """Draw a figure of three panels for each kind of work that was measured; return the files.

    The horizontal axis is the one with more values: image sizes, or batch sizes (one line for each image size). A
    combination that does not fit in memory leaves a gap.
    """
    drawn = []
    for what, title in TITLES.items():
        found = [p for p in points if p.what == what and p.seconds]
        if not found:
            continue
        sizes, batches = ({getattr(p, field) for p in found} for field in ("image_size_px", "batch"))
        path = folder / f"{name}-{what}.png"
        _draw(found, title, len(batches) > len(sizes), path)
        drawn.append(path)
    return drawn


def _draw(points: Sequence[Point], title: str, by_batch: bool, path: Path) -> None:
    marks = method_looks(list(dict.fromkeys(p.name for p in points)))
    others = sorted({_other(p, by_batch) for p in points})
    along = sorted({_at(p, by_batch) for p in points})
    with figure(path, 1, len(PANELS), 10.4, 3.4) as (fig, axes):
        for ax, (label, value) in zip(axes[0], PANELS.items(), strict=True):
            for (name, other), group in _lines(points, by_batch).items():
                colour, _, marker = marks[name]
                style = LINES[others.index(other) % len(LINES)]
                said = f"{name}, {other} px" if by_batch else f"{name}, batch {other}"
                line = sorted((_at(p, by_batch), found) for p in group if (found := value(p)) is not None)
                ax.plot(
                    [x for x, _ in line], [y for _, y in line], style, marker=marker, color=colour, ms=4.5,
                    label=said if len(others) > 1 else name,
                )  # fmt: skip
            ax.set(xscale="log", xlabel="images per batch" if by_batch else "image side (px)", ylabel=label)
            ax.set_xticks(along, [str(x) for x in along])
            ax.set_xticks([], minor=True)
            if "memory" in label:
                ax.set_ylim(bottom=0)
            else:
                ax.set_yscale("log")
                plain_log(ax.yaxis)
        handles, names = axes[0][0].get_legend_handles_labels()
        unique = dict(zip(names, handles, strict=True))
        fig.legend(unique.values(), unique.keys(), loc="outside right upper")
        fig.suptitle(f"Cost of {title}", fontsize=9.5)


def _at(point: Point, by_batch: bool) -> int:
    return point.batch if by_batch else point.image_size_px


def _other(point: Point, by_batch: bool) -> int:
    return point.image_size_px if by_batch else point.batch


def _lines(points: Sequence[Point], by_batch: bool) -> dict[tuple[str, int], list[Point]]:
    """Group points into lines: one name at one size (or batch size), the other varies."""
    groups: dict[tuple[str, int], list[Point]] = {}
    for p in points:
        groups.setdefault((p.name, _other(p, by_batch)), []).append(p)
    return groups
