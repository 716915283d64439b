"""Labels beside the marks of a chart, placed so that they cover neither each other nor marks, lines and intervals."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.report.charts.style import GREY

NEAR, FAR = (6, 10, 15), (21, 28, 37, 48, 61, 76, 92, 110)  # points between a mark and its label
MARK = 3.5  # points, half the size of a mark
LABELS, BARS = 20.0, 4.0  # cost of covering a pixel of another label, and of anything else
WRONG = 1000.0  # cost of a label without a line that is nearer to another mark than to its own
LEADER = 12  # points from which a thin line joins them
DIRECTIONS = ((1, 0), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1), (0, 1), (0, -1))  # right first
SIZE = 7.5  # font size
TEXT = "#222222"
Box = tuple[float, float, float, float]  # left, bottom, right, top in pixels
Pixel = tuple[float, float]


@dataclass(frozen=True)
class Named:
    """A mark at (x, y) in data coordinates and its name; ``low``, ``high``: the ends of its interval, if it has one."""

    name: str
    x: float
    y: float
    low: float = math.nan
    high: float = math.nan


def label_marks(ax: Any, marks: Sequence[Named], lines: Sequence[tuple[str, float]] = ()) -> None:
    """Write the name of every mark, and of horizontal ``lines`` (name, y), into an axis with its final limits.

    Of the possible places of a label the first that covers nothing is taken, or the one that covers least; other labels
    count most.
    """
    fig = ax.figure
    fig.draw_without_rendering()  # the layout decides where marks are
    scale = fig.dpi / 72
    taken = [(box, BARS) for m in marks for box in _boxes(ax, m, scale)]
    rules = [(_rule(ax, y, scale), BARS) for _, y in lines]
    whole = tuple(ax.get_window_extent().extents)
    for i, (name, y) in enumerate(lines):
        text = ax.text(0, 0, name, fontsize=SIZE, color=GREY, transform=_pixels())
        places = list(_along(whole, _pixel(ax, ax.get_xlim()[0], y)[1], *_size(text), scale))
        taken.append((_put(text, places, [*taken, *rules[:i], *rules[i + 1 :]], whole), LABELS))
    for m in sorted(marks, key=lambda m: (m.x, m.y)):
        mark, *bar = _boxes(ax, m, scale)
        text = ax.text(0, 0, m.name, fontsize=SIZE, color=TEXT, transform=_pixels(), zorder=5)
        width, height = _size(text)
        near, far = (list(_around(mark, width, height, [r * scale for r in radii])) for radii in (NEAR, FAR))
        ends = [place for box in bar for place in _at_ends(box, width, height, scale)]
        others = [_pixel(ax, o.x, o.y) for o in marks if o is not m]
        at = _pixel(ax, m.x, m.y)
        wrong = {box: WRONG for box in (*near, *ends) if any(_distance(o, box) <= _distance(at, box) for o in others)}
        box = _put(text, [*near, *ends, *far], [*taken, *rules], whole, wrong)
        taken.append((box, LABELS))
        if box not in ends:
            _join(ax, at, box, scale)


def _pixel(ax: Any, x: float, y: float) -> Pixel:
    left, bottom = ax.transData.transform((x, y))
    return float(left), float(bottom)


def _pixels() -> Any:
    from matplotlib.transforms import IdentityTransform

    return IdentityTransform()


def _size(text: Any) -> Pixel:
    text.set_in_layout(False)
    box = text.get_window_extent()
    return box.width, box.height


def _boxes(ax: Any, m: Named, scale: float) -> Iterator[Box]:
    x, y = _pixel(ax, m.x, m.y)
    yield x - MARK * scale, y - MARK * scale, x + MARK * scale, y + MARK * scale
    if math.isfinite(m.low) and math.isfinite(m.high):
        yield x - scale, _pixel(ax, m.x, m.low)[1], x + scale, _pixel(ax, m.x, m.high)[1]


def _rule(ax: Any, y: float, scale: float) -> Box:
    left, _, right, _ = ax.get_window_extent().extents
    at = _pixel(ax, ax.get_xlim()[0], y)[1]
    return left, at - scale, right, at + scale


def _along(whole: Box, y: float, width: float, height: float, scale: float) -> Iterator[Box]:
    """Yield places for the name of a horizontal line: above and below it, from right to left."""
    left, _, right, _ = whole
    gap = 2 * scale
    for i in range(9):
        x = right - gap - width - i / 8 * max(right - left - width - 2 * gap, 0)
        for bottom in (y + gap, y - gap - height):
            yield x, bottom, x + width, bottom + height


def _around(mark: Box, width: float, height: float, radii: Iterable[float]) -> Iterator[Box]:
    """Yield places for the name of a mark, the nearest first."""
    x, y = (mark[0] + mark[2]) / 2, (mark[1] + mark[3]) / 2
    for radius in radii:
        for across, up in DIRECTIONS:
            shift = radius if not (across and up) else 0.75 * radius
            left = x + across * shift - (width if across < 0 else 0 if across else width / 2)
            bottom = y + up * shift - (height if up < 0 else 0 if up else height / 2)
            yield left, bottom, left + width, bottom + height


def _at_ends(bar: Box, width: float, height: float, scale: float) -> Iterator[Box]:
    """Yield places above and below an interval."""
    x, gap = (bar[0] + bar[2]) / 2, 2 * scale
    for share in (0.5, 0.1, 0.9):
        for bottom in (bar[3] + gap, bar[1] - gap - height):
            yield x - share * width, bottom, x + (1 - share) * width, bottom + height


def _put(
    text: Any,
    places: Sequence[Box],
    taken: Sequence[tuple[Box, float]],
    whole: Box,
    more: Mapping[Box, float] | None = None,
) -> Box:
    """Put a text at the place that costs least, the first of several; ``more`` are additional costs of places."""
    costs = [sum(w * _overlap(box, other) for other, w in taken) + LABELS * _outside(box, whole) for box in places]
    costs = [cost + (more or {}).get(box, 0.0) for cost, box in zip(costs, places, strict=True)]
    box = places[costs.index(min(costs))]
    text.set(position=box[:2], va="bottom", ha="left")
    return box


def _nearest(at: Pixel, box: Box) -> Pixel:
    """Return the point of a box that is nearest to a mark."""
    return min(max(at[0], box[0]), box[2]), min(max(at[1], box[1]), box[3])


def _distance(at: Pixel, box: Box) -> float:
    return math.dist(at, _nearest(at, box))


def _overlap(a: Box, b: Box) -> float:
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))


def _outside(box: Box, whole: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1]) - _overlap(box, whole)


def _join(ax: Any, at: Pixel, box: Box, scale: float) -> None:
    """Draw a thin line from a mark to a distant label."""
    if _distance(at, box) > LEADER * scale:
        (x0, y0), (x1, y1) = at, _nearest(at, box)
        ax.plot([x0, x1], [y0, y1], color=GREY, lw=0.5, transform=_pixels(), zorder=1, scalex=False, scaley=False)
