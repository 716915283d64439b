"""Differences to none with intervals: one row for each arm, one panel for each classifier."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.analysis.info import ReportInfo
from bench.report.charts.pages import Page
from bench.report.charts.style import GREY, VERDICT, arm_axis, figure
from bench.stats.inference import Verdict


def caption(info: ReportInfo) -> str:
    """Return the caption."""
    return (
        f"Difference to `none` in {info.unit.metric}: mean over pairs and 95 % interval (corrected resampled t). "
        "Arrowheads: the interval extends beyond the axis. Shaded: the equivalence margin. Hollow: no interval."
    )


def draw_forest(page: Page, info: ReportInfo, path: Path) -> None:
    """Draw the mean paired difference to none with its corrected interval."""
    limit = forest_limit([x.verdict("none") for x in page.lines.values()], info.margin)
    width, height = 2.3 + 2.9 * len(page.classifiers), 1.25 + 0.235 * len(page.arms)
    with figure(path, 1, len(page.classifiers), width, height, sharey=True) as (fig, axes):
        for ax, classifier in zip(axes[0], page.classifiers, strict=True):
            ax.axvspan(-100 * info.margin, 100 * info.margin, color="#eef3f7", lw=0)
            ax.axvline(0, color=GREY, lw=0.8)
            panel = page.panel(classifier)
            rows = [(page.arms.index(arm), line.verdict("none")) for arm, line in panel.items()]
            for word, colour in VERDICT.items():
                _intervals(ax, [(y, v) for y, v in rows if v.word == word], limit, colour)
            ax.set(title=classifier, xlim=(-limit, limit))
            arm_axis(ax, page.arms, named=classifier == page.classifiers[0])
        fig.supxlabel(f"difference to none in {info.unit.level} balanced accuracy (percentage points)", fontsize=8.5)
        _verdict_legend(fig)


def forest_limit(found: Sequence[Verdict], margin: float) -> float:
    """Return half the axis width in points: covers all means, and intervals as far as the means stay legible."""
    means = [abs(100 * v.difference) for v in found]
    ends = [abs(100 * e) for v in found for e in (v.low, v.high) if math.isfinite(e)]
    return min(105.0, max(1.15 * max(means), 150 * margin, min(1.08 * max(ends, default=0), 3.5 * max(means), 100.0)))


def _intervals(ax: Any, rows: Sequence[tuple[int, Verdict]], limit: float, colour: str) -> None:
    known = [(y, 100 * v.low, 100 * v.high) for y, v in rows if math.isfinite(v.low)]
    ax.hlines(
        [y for y, _, _ in known],
        [max(low, -limit) for _, low, _ in known],
        [min(high, limit) for _, _, high in known],
        color=colour,
        lw=1.3,
    )
    ends = [(end, y, sign) for y, low, high in known for end, sign in ((low, -1), (high, 1))]
    inside = [(end, y) for end, y, _ in ends if abs(end) <= limit]
    ax.plot([x for x, _ in inside], [y for _, y in inside], "|", color=colour, ms=5, mew=1.3)
    for sign, arrow in ((-1, "<"), (1, ">")):
        beyond = [y for end, y, s in ends if s == sign and sign * end > limit]
        if beyond:
            ax.plot([sign * limit * 0.985] * len(beyond), beyond, arrow, color=colour, ms=4, clip_on=False)
    for hollow in (False, True):
        marks = [(100 * v.difference, y) for y, v in rows if math.isfinite(v.low) != hollow]
        face = "white" if hollow else colour
        ax.plot([x for x, _ in marks], [y for _, y in marks], "o", ms=4.8, color=colour, mfc=face, zorder=3)


def _verdict_legend(fig: Any) -> None:
    from matplotlib.lines import Line2D

    marks = [Line2D([], [], color=c, marker="o", ms=4.8, lw=1.3, label=w) for w, c in VERDICT.items()]
    fig.legend(handles=marks, loc="outside upper right", ncols=4, handlelength=1.6, columnspacing=1.2)
