"""Training losses by step, one panel for each method."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from bench.analysis.info import ReportInfo
from bench.analysis.rows import Rows
from bench.report.charts.style import CYCLE, LINES, figure, plain_log
from bench.store.history import HISTORY, read_history

PAIRS = 10  # enough to show the spread; the histories of a long run have millions of lines
CAPTION = (
    "Training losses by step, as logged by each method: mean over pairs (fold × repeat), shaded from the lowest to the "
    f"highest (at most the first {PAIRS} pairs)."
)
METHODS = 12  # in one figure
FIDELITY = "fidelity/"  # prefix of KID and FID during training, which have a separate chart
Curve = tuple[np.ndarray, np.ndarray]  # steps [S]; values [pairs, S]


def read_histories(rows: Rows, info: ReportInfo, root: Path) -> dict[str, dict[str, Curve]]:
    """Return the losses of each method by name, at the steps logged in all of the first pairs."""
    found = {}
    for method in info.generative:
        folders = [root / r.folder for r in rows.done("fit", method, info.pairs) if r.folder]
        found[method] = read_curves([f / HISTORY for f in folders[:PAIRS]])
    return {method: curves for method, curves in found.items() if curves}


def read_curves(paths: Sequence[Path]) -> dict[str, Curve]:
    """Return the logged values of several pairs by name, at the steps logged in all of them."""
    by_name: dict[str, list[dict[int, float]]] = {}
    for path in paths:
        for name, values in _history(path).items():
            by_name.setdefault(name, []).append(values)
    curves = {}
    for name, pairs in by_name.items():
        steps = sorted(set.intersection(*(set(p) for p in pairs)))
        if steps:
            curves[name] = (np.array(steps), np.array([[p[s] for s in steps] for p in pairs]))
    return curves


def _history(path: Path) -> dict[str, dict[int, float]]:
    """Return values by step by name, in the order of first appearance; if a step is logged twice, the last value
    counts."""
    values: dict[str, dict[int, float]] = {}
    for step, name, value in read_history(path):
        values.setdefault(name, {})[step] = value
    return values


def loss_curves(histories: Mapping[str, Mapping[str, Curve]]) -> dict[str, dict[str, Curve]]:
    """Return the curves without KID and FID, and only those with values; methods without a curve are omitted."""
    kept = {
        m: {n: c for n, c in of.items() if not n.startswith(FIDELITY) and np.isfinite(c[1]).any()}
        for m, of in histories.items()
    }
    return {m: of for m, of in kept.items() if of}


def draw_losses(histories: Mapping[str, Mapping[str, Curve]], path: Path) -> None:
    """Draw one panel for each method of ``loss_curves``: mean over pairs, range shaded."""
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
