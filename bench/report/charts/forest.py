"""Differences to none with their intervals: a row an arm, a panel a classifier."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.report.charts.style import GREY, VERDICT, Panels, arm_axis, figure
from bench.report.info import ReportInfo
from bench.report.records.lines import PRIMARY


def draw_forest(panels: Panels, info: ReportInfo, path: Path) -> str:
    """Mean paired difference to none with its corrected interval; a row an arm, a panel a classifier."""
    arms = [a for a in info.arms if any(x.arm == a and "none" in x.versus for p in panels.values() for x in p)]
    height = 1.25 + 0.235 * len(arms)
    every = [x.versus["none"][PRIMARY] for p in panels.values() for x in p if "none" in x.versus]
    limit = _forest_limit([(v.difference, v.low, v.high) for v in every], info.margin)
    with figure(path, 1, len(panels), 2.3 + 2.9 * len(panels), height, sharey=True) as (fig, axes):
        for ax, (classifier, lines) in zip(axes[0], panels.items(), strict=True):
            judged = {x.arm: x.versus["none"][PRIMARY] for x in lines if "none" in x.versus}
            ax.axvspan(-100 * info.margin, 100 * info.margin, color="#eef3f7", lw=0)
            ax.axvline(0, color=GREY, lw=0.8)
            for y, arm in enumerate(arms):
                if arm in judged:
                    _interval(ax, y, judged[arm], limit)
            ax.set(title=classifier, xlim=(-limit, limit), ylim=(len(arms) - 0.4, -0.6))
            arm_axis(ax, arms)
        fig.supxlabel("difference to none in patient-level balanced accuracy (percentage points)", fontsize=8.5)
        _verdict_legend(fig)
    return (
        "Difference to `none` in patient-level balanced accuracy: mean over pairs and 95 % interval (corrected "
        "resampled t). Arrowheads: the interval goes on. Shaded: the equivalence margin. A hollow mark has no interval."
    )


def _forest_limit(found: Sequence[tuple[float, float, float]], margin: float) -> float:
    """Return the axis' half width in points: all means, and intervals as far as the means stay legible."""
    means = [abs(100 * m) for m, _, _ in found]
    ends = [abs(100 * e) for _, low, high in found for e in (low, high) if math.isfinite(e)]
    return min(105.0, max(1.15 * max(means), 150 * margin, min(1.08 * max(ends, default=0), 3.5 * max(means), 100.0)))


def _interval(ax: Any, y: int, verdict: Any, limit: float) -> None:
    colour = VERDICT[verdict.word]
    mean, low, high = (100 * v for v in (verdict.difference, verdict.low, verdict.high))
    known = math.isfinite(low)
    if known:
        ax.plot([max(low, -limit), min(high, limit)], [y, y], color=colour, lw=1.3, solid_capstyle="butt")
        for end, sign in ((low, -1), (high, 1)):
            if abs(end) > limit and end * sign > 0:
                ax.plot(sign * limit * 0.985, y, marker=">" if sign > 0 else "<", color=colour, ms=4, clip_on=False)
            else:
                ax.plot([end, end], [y - 0.16, y + 0.16], color=colour, lw=1.3)
    ax.plot(mean, y, "o", ms=4.8, color=colour, mfc=colour if known else "white", zorder=3)


def _verdict_legend(fig: Any) -> None:
    from matplotlib.lines import Line2D

    marks = [Line2D([], [], color=c, marker="o", ms=4.8, lw=1.3, label=w) for w, c in VERDICT.items()]
    fig.legend(handles=marks, loc="outside upper right", ncols=4, handlelength=1.6, columnspacing=1.2)
