"""Training losses by step, a panel a method."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from bench.report.charts.style import CYCLE, LINES, figure, plain_log
from bench.report.info import Arm, ReportInfo
from bench.report.records.rows import Rows

Curve = tuple[np.ndarray, np.ndarray]  # steps [S]; values [pairs, S]


def read_histories(rows: Rows, info: ReportInfo, method: str, root: Path) -> dict[str, Curve]:
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


def draw_losses(histories: Mapping[str, Mapping[str, Curve]], path: Path) -> str:
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
