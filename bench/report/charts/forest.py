"""The forest chart: estimates with intervals, one row each, panels side by side with rows in common.

The leaderboard, the differences to a reference and the page over several data sets all use it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.report.charts.style import BLACK, GREY, LABEL, MARGIN, figure, legend_columns

ROW = 0.235  # inches
MARK = 4.8  # points


@dataclass(frozen=True)
class Mark:
    """An estimate and its interval (NaN: none) in row ``y``; rows are numbered from the top and may be fractions.

    ``decided`` marks are filled. ``wide`` is a second, wider interval, drawn as a thin line.
    """

    y: float
    mean: float
    low: float
    high: float
    colour: str = BLACK
    shape: str = "o"
    decided: bool = True
    wide: tuple[float, float] = (math.nan, math.nan)


@dataclass(frozen=True)
class Panel:
    """One panel: its marks, and half the width of the shaded band around 0, the equivalence margin (0: none)."""

    title: str
    xlabel: str
    marks: Sequence[Mark]
    margin: float = 0.0


def forest(
    panels: Sequence[Panel],
    rows: Mapping[float, str],
    path: Path,
    xlabel: str = "",
    legend: Mapping[str, Mark] | None = None,
    row: float = ROW,
) -> None:
    """Draw the panels; ``rows`` are the names at the left by y. ``legend`` explains marks by their meaning."""
    last = max((m.y for p in panels for m in p.marks), default=0.0)
    width = 0.5 + 0.075 * max(map(len, rows.values()), default=0) + 2.45 * len(panels)
    keys = legend or {}
    columns = legend_columns(list(keys), width) if keys else 1
    lines = max(p.title.count("\n") + p.xlabel.count("\n") for p in panels)
    height = 1.05 + 0.15 * lines + row * (last + 1) + 0.18 * math.ceil(len(keys) / columns)
    with figure(path, 1, len(panels), width, height, sharey=True) as (fig, axes):
        for i, (ax, panel) in enumerate(zip(axes[0], panels, strict=True)):
            draw_panel(ax, panel)
            ax.set_ylim(last + 0.6, -0.6)
            ax.set_yticks([])
            for y, name in rows.items() if i == 0 else ():
                ax.text(-0.015, y, name, transform=ax.get_yaxis_transform(), ha="right", va="center")
        if xlabel:
            fig.supxlabel(xlabel, fontsize=LABEL)
        if keys:
            handles = [_key(name, mark) for name, mark in keys.items()]
            fig.legend(handles=handles, loc="outside upper left", ncols=columns, handlelength=1.6, columnspacing=1.2)


def draw_panel(ax: Any, panel: Panel) -> None:
    """Draw marks and intervals; the axis shows every interval and 0."""
    ends = [x for m in panel.marks for x in (m.mean, m.low, m.high, *m.wide) if math.isfinite(x)]
    low, high = min([0.0, -panel.margin, *ends]), max([0.0, panel.margin, *ends])
    pad = 0.05 * (high - low or 1.0)
    if panel.margin:
        ax.axvspan(-panel.margin, panel.margin, color=MARGIN, lw=0)
    ax.axvline(0, color=GREY, lw=0.8)
    for m in panel.marks:
        if math.isfinite(m.wide[0]):
            ax.hlines(m.y, *m.wide, color=m.colour, lw=0.6)
        if math.isfinite(m.low):
            ax.hlines(m.y, m.low, m.high, color=m.colour, lw=1.3)
            ax.plot([m.low, m.high], [m.y, m.y], "|", color=m.colour, ms=5, mew=1.3)
        face = m.colour if m.decided else "white"
        ax.plot(m.mean, m.y, m.shape, ms=MARK, color=m.colour, mfc=face, zorder=3)
    ax.set(title=panel.title, xlabel=panel.xlabel, xlim=(low - pad, high + pad))
    ax.locator_params(axis="x", nbins=6)


def _key(name: str, mark: Mark) -> Any:
    from matplotlib.lines import Line2D

    face = mark.colour if mark.decided else "white"
    return Line2D([], [], color=mark.colour, marker=mark.shape, mfc=face, ms=MARK, lw=1.3, label=name)


DECIDED = {  # legend of charts in which a filled mark is a decided one
    "decided": Mark(0, 0, 0, 0, GREY),
    "undecided": Mark(0, 0, 0, 0, GREY, decided=False),
}
