"""Every pair's score beside what none scored on the same patients."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.report.charts.style import GREY, VERDICT, Panels, arm_axis, figure
from bench.report.info import Arm, ReportInfo
from bench.report.records.lines import PRIMARY


def draw_folds(panels: Panels, info: ReportInfo, path: Path) -> str:
    """Every pair's score beside what none scored on the same patients."""
    arms = [a for a in info.arms if any(x.arm == a for p in panels.values() for x in p)]
    step = 0.62 / max(1, len(info.pairs))
    height = 1.1 + max(0.25, 0.09 * len(info.pairs)) * len(arms)
    with figure(path, 1, len(panels), 2.3 + 2.9 * len(panels), height, sharey=True) as (fig, axes):
        for ax, (classifier, lines) in zip(axes[0], panels.items(), strict=True):
            base = next((x.values[PRIMARY] for x in lines if x.arm == Arm("none")), {})
            by_arm = {x.arm: x.values[PRIMARY] for x in lines}
            for y, arm in enumerate(arms):
                for j, pair in enumerate(info.pairs):
                    at = y + (j - (len(info.pairs) - 1) / 2) * step
                    _pair(ax, at, by_arm.get(arm, {}).get(pair), base.get(pair))
            ax.set(title=classifier, ylim=(len(arms) - 0.4, -0.6))
            ax.set_xlim(right=min(101.5, ax.get_xlim()[1]))
            arm_axis(ax, arms)
        fig.supxlabel("patient-level balanced accuracy (%)", fontsize=8.5)
        _pair_legend(fig)
    return (
        "Patient-level balanced accuracy of every pair (fold, repeat), top to bottom in each row; the line leads from "
        "the score of `none` on the same patients."
    )


UP, DOWN = VERDICT["equivalent"], VERDICT["hurts"]


def _pair(ax: Any, y: float, score: float | None, base: float | None) -> None:
    if score is None:
        return
    colour = GREY if base is None or score == base else (UP if score > base else DOWN)
    if base is not None:
        ax.plot([100 * base, 100 * score], [y, y], color=colour, lw=1.1)
        ax.plot(100 * base, y, "o", ms=3.2, color=GREY, mfc="white", mew=0.9)
    ax.plot(100 * score, y, "o", ms=3.8, color=colour, zorder=3)


def _pair_legend(fig: Any) -> None:
    from matplotlib.lines import Line2D

    marks = [
        Line2D([], [], color=GREY, marker="o", mfc="white", ms=3.6, lw=0, label="none"),
        Line2D([], [], color=UP, marker="o", ms=4.2, lw=1.1, label="better than none"),
        Line2D([], [], color=DOWN, marker="o", ms=4.2, lw=1.1, label="worse"),
        Line2D([], [], color=GREY, marker="o", ms=4.2, lw=0, label="the same"),
    ]
    fig.legend(handles=marks, loc="outside upper right", ncols=4, handlelength=1.4, columnspacing=1.2)
