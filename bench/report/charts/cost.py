"""Score against total device time of an arm, with the Pareto front and the compute-matched references."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.analysis.info import ReportInfo
from bench.analysis.lines import Line
from bench.report.charts.pages import Page
from bench.report.charts.style import GREY, Look, figure, method_looks, plain_log
from bench.stats.pareto import pareto
from bench.suite.arms import Arm
from bench.suite.suite import REFERENCES

NAMED = 20  # methods that can be distinguished by colour and shape
SMALL, LARGE = 4.0, 5.5  # marker sizes in points: references with more steps, and arms without a ratio


def caption(info: ReportInfo) -> str:
    """Return the caption."""
    text = (
        f"Mean {info.unit.level} {info.unit.endpoint_name} (95 % interval over {info.unit.groups}) against the device "
        "time of an arm: generator, synthesis, classifier and tuning, all folds. Filled marks on the grey line (Pareto "
        "front): no cheaper arm has an equal or better mean."
    )
    return (
        f"{text} Lines: {' and '.join(f'`{r}`' for r in REFERENCES)} trained for more steps."
        if info.train_multipliers
        else text
    )


def draw_cost(page: Page, info: ReportInfo, path: Path) -> None:
    """Draw one marker for each arm: colour and shape for the method, size for the ratio.

    Of more than ``NAMED`` methods only those on a Pareto front, and the references, are named; the others are grey.
    """
    sizes = {r: SMALL + min(1.6, 6 / len(info.ratios)) * i for i, r in enumerate(info.ratios)}
    looks = method_looks(info.methods)
    marks = {m: looks[m] for m in _named(page, info)}
    width = 2.3 + 3.1 * len(page.classifiers)
    with figure(path, 1, len(page.classifiers), width, 3.9, sharey=True) as (fig, axes):
        for ax, classifier in zip(axes[0], page.classifiers, strict=True):
            lines = _costed(page, classifier)
            front = pareto([_point(x) for x in lines])
            ax.step([x for x, _ in front], [100 * y for _, y in front], where="post", color=GREY, lw=1, zorder=1)
            others = [_point(x) for x in lines if x.arm.method not in marks]
            ax.plot([x for x, _ in others], [100 * y for _, y in others], "o", color=GREY, ms=2.5, mew=0, zorder=2)
            for x in lines:
                if x.arm.method in marks:
                    size = SMALL if x.arm in info.multiplied_arms else sizes.get(x.arm.variant, LARGE)
                    _draw_arm(ax, x, marks[x.arm.method], size, _point(x) in front)
            for reference in REFERENCES if info.train_multipliers else ():
                steps = sorted(_point(x) for x in lines if x.arm.method == reference)
                ax.plot(
                    [x for x, _ in steps], [100 * y for _, y in steps], color=marks[reference].colour, lw=0.9, zorder=2
                )
            ax.set(title=classifier, xscale="log")
            plain_log(ax.xaxis)
        axes[0][0].set_ylabel(f"{info.unit.level} {info.unit.endpoint_name} (%)")
        fig.supxlabel(
            "device time of generator, synthesis, classifier and tuning, all folds (s, log scale)", fontsize=8.5
        )
        fig.legend(handles=_legend(marks, sizes, len(marks) < len(info.methods)), loc="outside right upper")


def _draw_arm(ax: Any, line: Line, mark: Look, size: float, filled: bool) -> None:
    colour, marker, (x, y), score = mark.colour, mark.marker, _point(line), line.score
    if math.isfinite(score.low) and math.isfinite(score.high):
        ax.plot([x, x], [100 * score.low, 100 * score.high], color=colour, lw=0.8, alpha=0.45, zorder=2)
    ax.plot(x, 100 * y, marker, color=colour, mfc=colour if filled else "white", ms=size, mew=1.1, zorder=3)


def _named(page: Page, info: ReportInfo) -> list[str]:
    if len(info.methods) <= NAMED:
        return list(info.methods)
    best = set(REFERENCES)
    for classifier in page.classifiers:
        lines = _costed(page, classifier)
        front = set(pareto([_point(x) for x in lines]))
        best |= {x.arm.method for x in lines if _point(x) in front}
    return [m for m in info.methods if m in best][:NAMED]


def _costed(page: Page, classifier: str) -> list[Line]:
    return [x for x in page.panel(classifier).values() if x.charged_s > 0]


def _point(line: Line) -> tuple[float, float]:
    return line.charged_s, line.score.mean


def _legend(marks: Mapping[str, Look], sizes: Mapping[str, float], others: bool) -> Sequence[Any]:
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=c, marker=m, mfc="white", lw=0, ms=5.5, label=n) for n, (c, _, m) in marks.items()]
    if others:
        handles.append(Line2D([], [], color=GREY, marker="o", lw=0, ms=2.5, mew=0, label="other methods"))
    if len(sizes) > 1:
        ratios = [(f"ratio {Arm.parse('', r).variant_label}", size) for r, size in sizes.items()]
        handles += [Line2D([], [], color=GREY, marker="o", lw=0, ms=size, label=text) for text, size in ratios]
    return [*handles, Line2D([], [], color=GREY, marker="o", lw=1, ms=5, label="Pareto front (filled)")]
