"""Score against seconds of all the training an arm needs, with the Pareto front."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.report.charts.pages import Page
from bench.report.charts.style import GREY, figure, method_marks, plain_log
from bench.report.info import ReportInfo, ratio_label
from bench.report.records.lines import PRIMARY

CAPTION = (
    "Mean patient-level balanced accuracy against the compute that an arm needs per fold. Filled marks on the grey "
    "line: no cheaper arm scores as well (of the means; intervals are in the tables)."
)
LEGEND = 24  # entries in a column of the legend


def draw_cost(page: Page, info: ReportInfo, path: Path) -> None:
    """Draw a mark an arm: its colour and shape tell the method, its size the ratio."""
    marks = method_marks(info.methods)
    sizes = {r: 4.0 + min(1.6, 6 / len(info.ratios)) * i for i, r in enumerate(info.ratios)}
    width = 2.3 + 3.1 * len(page.classifiers)
    with figure(path, 1, len(page.classifiers), width, 3.9, sharey=True) as (fig, axes):
        for ax, classifier in zip(axes[0], page.classifiers, strict=True):
            found = [x for x in page.panel(classifier).values() if x.total_s > 0]
            front = pareto([(x.total_s, x.scores[PRIMARY].mean) for x in found])
            ax.step([x for x, _ in front], [100 * y for _, y in front], where="post", color=GREY, lw=1, zorder=1)
            for x in found:
                colour, marker = marks[x.arm.method]
                point = (x.total_s, x.scores[PRIMARY].mean)
                ms = sizes.get(x.arm.ratio, 5.5)
                face = colour if point in front else "white"
                ax.plot(point[0], 100 * point[1], marker, color=colour, mfc=face, ms=ms, mew=1.1, zorder=3)
            ax.set(title=classifier, xscale="log")
            plain_log(ax.xaxis)
        axes[0][0].set_ylabel("patient-level balanced accuracy (%)")
        text = "generator training + synthesis + classifier training, mean over folds (s, log scale)"
        fig.supxlabel(text, fontsize=8.5)
        handles = _legend(marks, sizes)
        fig.legend(handles=handles, loc="outside right upper", ncols=math.ceil(len(handles) / LEGEND))


def _legend(marks: Mapping[str, tuple[str, str]], sizes: Mapping[str, float]) -> list[Any]:
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=c, marker=m, mfc="white", lw=0, ms=5.5, label=n) for n, (c, m) in marks.items()]
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
