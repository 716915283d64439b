"""The charts of a report, by matplotlib: differences with intervals, cost against score, folds one by one, losses."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.report.info import Arm, ReportInfo, ratio_label
from bench.report.style import CYCLE, GREY, LINES, VERDICT, figure, method_marks, plain_log
from bench.report.tables import PRIMARY, Line, Rows

Panels = Mapping[str, Sequence[Line]]  # classifier -> its lines, in the suite's order


def draw_figures(lines: Sequence[Line], rows: Rows, info: ReportInfo, root: Path, out: Path) -> dict[str, str]:
    """Draw what the rows allow into ``out/charts`` and return caption by path relative to ``out``."""
    panels = {c: [x for x in lines if x.classifier == c and x.pairs] for c in info.classifiers}
    panels = {c: found for c, found in panels.items() if found}
    drawn = {}
    charts = (
        ("forest", _forest, any("none" in x.versus for x in lines)),
        ("folds", _folds, bool(panels)),
        ("cost", _cost, bool(panels)),
    )
    for name, draw, possible in charts:
        if possible:
            drawn[f"charts/{name}.png"] = draw(panels, info, out / "charts" / f"{name}.png")
    histories = {m: _histories(rows, info, m, root) for m in info.generative}
    histories = {m: found for m, found in histories.items() if found}
    if histories:
        drawn["charts/losses.png"] = _losses(histories, out / "charts" / "losses.png")
    return drawn


def _forest(panels: Panels, info: ReportInfo, path: Path) -> str:
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
            _arm_axis(ax, arms)
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


def _arm_axis(ax: Any, arms: Sequence[Arm]) -> None:
    ax.set_yticks(range(len(arms)), [a.label for a in arms])
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="y", visible=False)
    ax.locator_params(axis="x", nbins=8)


def _verdict_legend(fig: Any) -> None:
    from matplotlib.lines import Line2D

    marks = [Line2D([], [], color=c, marker="o", ms=4.8, lw=1.3, label=w) for w, c in VERDICT.items()]
    fig.legend(handles=marks, loc="outside upper right", ncols=4, handlelength=1.6, columnspacing=1.2)


def _folds(panels: Panels, info: ReportInfo, path: Path) -> str:
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
            _arm_axis(ax, arms)
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


def _cost(panels: Panels, info: ReportInfo, path: Path) -> str:
    """Score against seconds of all the training an arm needs, with the Pareto front."""
    from matplotlib.lines import Line2D

    marks = method_marks(info.methods)
    sizes = {r: 4.0 + 1.6 * i for i, r in enumerate(info.ratios)}
    with figure(path, 1, len(panels), 2.3 + 3.1 * len(panels), 3.9, sharey=True) as (fig, axes):
        for ax, (classifier, lines) in zip(axes[0], panels.items(), strict=True):
            found = [x for x in lines if x.total_s > 0]
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
        fig.supxlabel(
            "generator training + synthesis + classifier training, mean over folds (s, log scale)", fontsize=8.5
        )
        handles = [Line2D([], [], color=c, marker=m, mfc="white", lw=0, ms=5.5, label=n) for n, (c, m) in marks.items()]
        if len(info.ratios) > 1:
            handles += [
                Line2D([], [], color=GREY, marker="o", lw=0, ms=s, label=f"ratio {ratio_label(r)}")
                for r, s in sizes.items()
            ]
        handles.append(Line2D([], [], color=GREY, marker="o", lw=1, ms=5, label="Pareto front (filled)"))
        fig.legend(handles=handles, loc="outside right upper")
    return (
        "Mean patient-level balanced accuracy against the compute that an arm needs per fold. Filled marks on the grey "
        "line: no cheaper arm scores as well (of the means; intervals are in the tables)."
    )


def pareto(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the (cost, score) points that no other beats: sorted by cost, scores strictly rising."""
    front: list[tuple[float, float]] = []
    for cost, score in sorted(points, key=lambda p: (p[0], -p[1])):
        if not front or score > front[-1][1]:
            front.append((cost, score))
    return front


Curve = tuple[np.ndarray, np.ndarray]  # steps [S]; values [pairs, S]


def _histories(rows: Rows, info: ReportInfo, method: str, root: Path) -> dict[str, Curve]:
    """Return a method's losses by name, at the steps that every finished pair logged."""
    found: dict[str, list[dict[int, float]]] = {}
    for pair in info.pairs:
        row = rows.generator("fit", Arm(method), pair)
        path = root / row.folder / "history.csv" if row and row.status == "done" and row.folder else None
        if path is None or not path.is_file():
            continue
        of_pair: dict[str, dict[int, float]] = {}
        with path.open(newline="", encoding="utf-8") as f:
            for line in csv.DictReader(f):
                of_pair.setdefault(line["name"], {})[int(line["step"])] = float(line["value"])
        for name, values in of_pair.items():
            found.setdefault(name, []).append(values)
    curves = {}
    for name, pairs in found.items():
        steps = sorted(set.intersection(*(set(p) for p in pairs)))
        if steps:
            curves[name] = (np.array(steps), np.array([[p[s] for s in steps] for p in pairs]))
    return curves


def _losses(histories: Mapping[str, Mapping[str, Curve]], path: Path) -> str:
    """Losses by step, a panel a method: mean over pairs, the range of the pairs shaded."""
    names = list(dict.fromkeys(n for curves in histories.values() for n in curves))
    style = {n: (CYCLE[i % len(CYCLE)], LINES[i // len(CYCLE) % len(LINES)]) for i, n in enumerate(names)}
    columns = min(3, len(histories))
    count = math.ceil(len(histories) / columns)
    with figure(path, count, columns, 0.6 + 2.6 * columns, 1.0 + 1.9 * count) as (fig, axes):
        for ax, (method, curves) in zip(axes.flat, histories.items(), strict=False):
            for name, (steps, values) in curves.items():
                colour, dashes = style[name]
                ax.plot(steps, values.mean(axis=0), dashes, color=colour)
                ax.fill_between(steps, values.min(axis=0), values.max(axis=0), color=colour, alpha=0.15, lw=0)
            ax.set_title(method)
            if all((v > 0).all() for _, v in curves.values()):
                ax.set_yscale("log")
                plain_log(ax.yaxis)
        for ax in list(axes.flat)[len(histories) :]:
            ax.set_visible(False)
        fig.supxlabel("training step", fontsize=8.5)
        fig.supylabel("loss", fontsize=8.5)
        handles = [axes.flat[0].plot([], [], d, color=c, label=n)[0] for n, (c, d) in style.items()]
        fig.legend(handles=handles, loc="outside right upper")
    return "Training losses by step as each method logs them: mean over pairs, shaded from the lowest to the highest."
