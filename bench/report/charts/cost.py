"""Score against seconds of all the training an arm needs, with the Pareto front."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.report.charts.pages import Page
from bench.report.charts.style import GREY, figure, method_marks, plain_log
from bench.report.info import ReportInfo, ratio_label
from bench.report.records.lines import PRIMARY, REFERENCES, Line

CAPTION = (
    "Mean patient-level balanced accuracy against the compute that an arm needs per fold. Filled marks on the grey "
    "line: no cheaper arm scores as well (of the means; intervals are in the tables)."
)
NAMED = 20  # methods that can be told apart by colour and shape
Mark = tuple[str, str]  # colour, shape


def draw_cost(page: Page, info: ReportInfo, path: Path) -> None:
    """Draw a mark an arm: its colour and shape tell the method, its size the ratio.

    Of more than ``NAMED`` methods only those on a Pareto front, and the references, are named; the others are grey.
    """
    sizes = {r: 4.0 + min(1.6, 6 / len(info.ratios)) * i for i, r in enumerate(info.ratios)}
    marks = method_marks(_named(page, info))
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
                    colour, marker = marks[x.arm.method]
                    face = colour if _point(x) in front else "white"
                    at, ms = (x.total_s, 100 * x.scores[PRIMARY].mean), sizes.get(x.arm.ratio, 5.5)
                    ax.plot(*at, marker, color=colour, mfc=face, ms=ms, mew=1.1, zorder=3)
            ax.set(title=classifier, xscale="log")
            plain_log(ax.xaxis)
        axes[0][0].set_ylabel("patient-level balanced accuracy (%)")
        text = "generator training + synthesis + classifier training, mean over folds (s, log scale)"
        fig.supxlabel(text, fontsize=8.5)
        fig.legend(handles=_legend(marks, sizes, len(marks) < len(info.methods)), loc="outside right upper")


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
    return [x for x in page.panel(classifier).values() if x.total_s > 0]


def _point(line: Line) -> tuple[float, float]:
    return line.total_s, line.scores[PRIMARY].mean


def _legend(marks: Mapping[str, Mark], sizes: Mapping[str, float], others: bool) -> list[Any]:
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=c, marker=m, mfc="white", lw=0, ms=5.5, label=n) for n, (c, m) in marks.items()]
    if others:
        handles.append(Line2D([], [], color=GREY, marker="o", lw=0, ms=2.5, mew=0, label="other methods"))
    if len(sizes) > 1:
        ratios = [(f"ratio {ratio_label(r)}", size) for r, size in sizes.items()]
        handles += [Line2D([], [], color=GREY, marker="o", lw=0, ms=size, label=text) for text, size in ratios]
    return [*handles, Line2D([], [], color=GREY, marker="o", lw=1, ms=5, label="Pareto front (filled)")]


def pareto(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the (cost, score) points that no other beats: sorted by cost, scores strictly rising."""
    front: list[tuple[float, float]] = []
    for cost, score in sorted(points, key=lambda p: (p[0], -p[1])):
        if not front or score > front[-1][1]:
            front.append((cost, score))
    return front
