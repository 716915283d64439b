"""Effect of the amount of synthetic data: difference to none by ratio, one line for each method."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.analysis.info import ReportInfo
from bench.analysis.lines import Line
from bench.report.charts.style import GREY, MARGIN, Look, figure, legend_columns, method_looks
from bench.suite.arms import Arm

CLASSIFIERS, METHODS = 2, 6  # panels side by side, and lines in one panel
BALANCE = "balance"


def caption(info: ReportInfo) -> str:
    """Return the caption."""
    return (
        f"Difference to `none` in {info.unit.metric} by the number of synthetic images per real one: mean over pairs "
        "(fold × repeat) and 95 % interval (corrected resampled t); points of one ratio are drawn side by side. "
        "`balance` fills up the smaller classes and is not part of the line. Hollow: without memorised samples. "
        "Shaded: the equivalence margin."
    )


def swept(lines: Sequence[Line]) -> list[Line]:
    """Return the lines of methods that have a difference to none at two or more amounts of synthetic images."""
    compared = [x for x in lines if "none" in x.versus and x.arm.ratio != "0" and not x.arm.is_selected]
    amounts: dict[str, set[str]] = {}
    for x in compared:
        amounts.setdefault(x.arm.method, set()).add(x.arm.ratio)
    return [x for x in compared if len(amounts[x.arm.method]) > 1]


def draw_sweep(lines: Sequence[Line], info: ReportInfo, path: Path) -> None:
    """Draw one panel for each classifier, with evenly spaced ratios, which are usually doubled."""
    classifiers = list(dict.fromkeys(x.classifier for x in lines))
    methods = list(dict.fromkeys(x.arm.method for x in lines))
    amounts = sorted({x.arm.ratio for x in lines}, key=lambda a: math.inf if a == BALANCE else float(a))
    looks, verdicts = method_looks(info.methods), [x.verdict("none") for x in lines]
    ends = [abs(e) for v in verdicts for e in (v.difference, v.low, v.high) if math.isfinite(e)]
    limit = min(105.0, max(105 * max(ends, default=0.0), 150 * info.margin))
    width = 0.8 + max(2.6, 0.5 + 0.13 * len(amounts) * len(methods)) * len(classifiers)
    with figure(path, 1, len(classifiers), width, 3.5, sharey=True) as (fig, axes):
        for ax, classifier in zip(axes[0], classifiers, strict=True):
            ax.axhspan(-100 * info.margin, 100 * info.margin, color=MARGIN, lw=0)
            ax.axhline(0, color=GREY, lw=0.8)
            for i, method in enumerate(methods):
                of_method = [x for x in lines if (x.classifier, x.arm.method) == (classifier, method)]
                _draw(ax, of_method, amounts, looks[method], (i - (len(methods) - 1) / 2) * 0.72 / len(methods))
            ax.set(
                title=classifier,
                xlabel="synthetic images per real image",
                ylim=(-limit, limit),
                xlim=(-0.5, len(amounts) - 0.5),
            )
            ax.set_xticks(range(len(amounts)), [Arm("", a).variant_label for a in amounts])
            ax.grid(False, axis="x")
            for at in range(1, len(amounts)):
                ax.axvline(at - 0.5, color=GREY, lw=0.6, ls=":" if amounts[at] != BALANCE else "-")
        axes[0][0].set_ylabel("difference to none\n(percentage points)")
        _legend(fig, {m: looks[m] for m in methods}, width, any(x.arm.exclude_memorised for x in lines))


def _draw(ax: Any, lines: Sequence[Line], amounts: Sequence[str], look: Look, shift: float) -> None:
    """Draw one method: its mean and interval at each amount, and a line through the numeric ones."""
    points = {(amounts.index(x.arm.ratio), x.arm.exclude_memorised): x.verdict("none") for x in lines}
    for (at, without_memorised), v in points.items():
        x = at + shift + (0.05 if without_memorised else 0)
        if math.isfinite(v.low):
            ax.plot([x, x], [100 * v.low, 100 * v.high], color=look.colour, lw=0.9, alpha=0.6, zorder=2)
        face = "white" if without_memorised else look.colour
        ax.plot(x, 100 * v.difference, look.marker, color=look.colour, mfc=face, ms=4.6, mew=0.9, zorder=4)
    numbers = sorted(at for at, without_memorised in points if not without_memorised and amounts[at] != BALANCE)
    means = [100 * points[at, False].difference for at in numbers]
    ax.plot([at + shift for at in numbers], means, color=look.colour, ls=look.dashes, lw=1.1, zorder=3)


def _legend(fig: Any, looks: Mapping[str, Look], width: float, hollow: bool) -> None:
    from matplotlib.lines import Line2D

    marks = [Line2D([], [], color=k.colour, ls=k.dashes, marker=k.marker, ms=4.6, label=m) for m, k in looks.items()]
    if hollow:
        marks.append(
            Line2D([], [], color=GREY, marker="o", mfc="white", lw=0, ms=4.6, label="without memorised samples")
        )
    columns = legend_columns([str(m.get_label()) for m in marks], width)
    fig.legend(handles=marks, loc="outside lower center", ncols=columns, handlelength=3.2)
