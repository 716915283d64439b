"""Score of every pair compared with `none` on the same patients."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.analysis.info import ReportInfo
from bench.report.charts.pages import Page
from bench.report.charts.style import GREY, VERDICT, arm_axis, figure
from bench.suite.arms import Arm

FEW = 10  # most pairs that are drawn as separate lines in a row
UP, DOWN = VERDICT["equivalent"], VERDICT["hurts"]
Point = tuple[float, float, float | None]  # y, score, score of none; in %


def caption(info: ReportInfo) -> str:
    """Return the caption, which depends on the number of pairs."""
    if len(info.pairs) > FEW:
        return f"Difference to `none` in {info.unit.metric} of every pair (fold × repeat), one dot each."
    return (
        f"{info.unit.metric.capitalize()} of every pair (fold × repeat), top to bottom in each row; the line starts "
        f"at the score of `none` on the same {info.unit.groups}."
    )


def draw_folds(page: Page, info: ReportInfo, path: Path) -> None:
    """Draw one row for each arm: few pairs as lines from the score of none, many as dots of the difference."""
    few = len(info.pairs) <= FEW
    width = 2.3 + 2.9 * len(page.classifiers)
    height = 1.1 + (max(0.25, 0.09 * len(info.pairs)) if few else 0.235) * len(page.arms)
    with figure(path, 1, len(page.classifiers), width, height, sharey=True) as (fig, axes):
        for ax, classifier in zip(axes[0], page.classifiers, strict=True):
            points = _points(page, classifier, info)
            if few:
                _lines(ax, points)
                ax.set_xlim(right=min(101.5, ax.get_xlim()[1]))
            else:
                _dots(ax, points)
            ax.set_title(classifier)
            arm_axis(ax, page.arms, named=classifier == page.classifiers[0])
        text = f"{info.unit.level} balanced accuracy (%)"
        fig.supxlabel(text if few else f"difference to none in {text.replace('%', 'percentage points')}", fontsize=8.5)
        _legend(fig, few)


def _points(page: Page, classifier: str, info: ReportInfo) -> list[Point]:
    base = page.lines.get((classifier, Arm("none")))
    reference = base.by_pair if base else {}
    step = 0.62 / max(1, len(info.pairs))
    points = []
    for arm, line in page.panel(classifier).items():
        for j, pair in enumerate(info.pairs):
            score, none = line.by_pair.get(pair), reference.get(pair)
            if score is not None:
                y = page.arms.index(arm) + (j - (len(info.pairs) - 1) / 2) * step
                points.append((y, 100 * score, None if none is None else 100 * none))
    return points


def _lines(ax: Any, points: Sequence[Point]) -> None:
    moved = [(y, score, none) for y, score, none in points if none is not None and none != score]
    ax.plot([n for _, _, n in moved], [y for y, _, _ in moved], "o", ms=3.2, color=GREY, mfc="white", mew=0.9)
    for colour, side in ((UP, 1), (DOWN, -1)):
        y, score, none = ([p[i] for p in moved if (p[1] - p[2]) * side > 0] for i in range(3))
        ax.hlines(y, none, score, color=colour, lw=1.1, zorder=2)
        ax.plot(score, y, "o", ms=3.8, color=colour, zorder=3)
    same = [(y, score) for y, score, none in points if none is None or none == score]
    ax.plot([s for _, s in same], [y for y, _ in same], "o", ms=3.8, color=GREY, zorder=3)


def _dots(ax: Any, points: Sequence[Point]) -> None:
    ax.axvline(0, color=GREY, lw=0.8)
    found = [(y, score - none) for y, score, none in points if none is not None]
    for colour, sign in ((UP, 1), (DOWN, -1), (GREY, 0)):
        chosen = [(y, d) for y, d in found if (d > 0) - (d < 0) == sign]
        ax.plot([d for _, d in chosen], [y for y, _ in chosen], "o", ms=2.2, color=colour, mew=0)


def _legend(fig: Any, few: bool) -> None:
    from matplotlib.lines import Line2D

    marks = [
        Line2D([], [], color=GREY, marker="o", mfc="white", ms=3.6, lw=0, label="none"),
        Line2D([], [], color=UP, marker="o", ms=4.2, lw=1.1 * few, label="better than none"),
        Line2D([], [], color=DOWN, marker="o", ms=4.2, lw=1.1 * few, label="worse"),
        Line2D([], [], color=GREY, marker="o", ms=4.2, lw=0, label="equal"),
    ]
    fig.legend(
        handles=marks if few else marks[1:], loc="outside upper right", ncols=4, handlelength=1.4, columnspacing=1.2
    )
