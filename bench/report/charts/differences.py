"""Differences of each method to the suite's reference: one row for each method, one panel for each measure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.analysis.differences import Difference
from bench.analysis.info import ReportInfo
from bench.report.charts.style import BLACK, BLUE, GREEN, GREY, VERMILLION, arm_axis, figure
from bench.suite.arms import Arm

CLASSIFIERS = 2  # panels of accuracy; the tables show all classifiers
COLOURS = {"helps": GREEN, "lower": GREEN, "hurts": VERMILLION, "higher": VERMILLION, "equivalent": BLUE}
SHOWN = {  # kind -> title, what is on the axis, scale
    "kid": ("KID", "difference in KID", 1.0),
    "accuracy": ("accuracy", "difference in accuracy (points)", 100.0),
    "step": ("training step", "difference in device time (ms)", 1000.0),
}


def caption(info: ReportInfo) -> str:
    """Return the caption."""
    return (
        f"Difference to `{info.reference}`, paired: mean and 95 % interval. Left is closer to real images (KID), right "
        f"is better ({info.unit.metric}), left is faster (training step). Green: better, red: worse (both "
        "after Holm's correction); blue: equivalent; black: undecided."
    )


def draw_differences(found: Sequence[Difference], info: ReportInfo, path: Path) -> None:
    """Draw the panels side by side; accuracy at the largest ratio, of the first classifiers."""
    methods = [m for m in info.generative if m != info.reference]
    panels = _panels(found, info)
    width, height = 1.9 + 2.3 * len(panels), 1.25 + 0.26 * len(methods)
    with figure(path, 1, len(panels), width, height, sharey=True) as (_, axes):
        for i, (ax, (title, label, scale, shown)) in enumerate(zip(axes[0], panels, strict=True)):
            ax.axvline(0, color=GREY, lw=0.8)
            for d in shown:
                _mark(ax, methods.index(d.arm.method), d, scale)
            ax.set(title=title, xlabel=label)
            arm_axis(ax, [Arm(m) for m in methods], named=i == 0)
            ax.locator_params(axis="x", nbins=5)


def _panels(found: Sequence[Difference], info: ReportInfo) -> list[tuple[str, str, float, list[Difference]]]:
    ratio = max((d.arm.variant for d in found if d.kind == "accuracy"), key=info.ratios.index, default="")
    panels: dict[tuple[str, str, str], list[Difference]] = {}
    for d in found:
        if d.kind in SHOWN and (d.kind != "accuracy" or d.arm.variant == ratio):
            panels.setdefault((d.kind, d.metric, d.classifier), []).append(d)
    kept = [at for at in panels if at[0] != "accuracy" or at[2] in info.classifiers[:CLASSIFIERS]]
    titles = {at: f"{at[2]}\n{Arm.parse('', ratio).variant_label}" if at[2] else SHOWN[at[0]][0] for at in kept}
    return [(titles[at], *SHOWN[at[0]][1:], panels[at]) for at in kept]


def _mark(ax: Any, y: int, d: Difference, scale: float) -> None:
    colour, known = COLOURS.get(d.word, BLACK), math.isfinite(d.low)
    if known:
        ax.hlines(y, scale * d.low, scale * d.high, color=colour, lw=1.3)
    ax.plot(scale * d.mean, y, "o", ms=4.8, color=colour, mfc=colour if known else "white", zorder=3)
