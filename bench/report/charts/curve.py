"""The learning curve: score against patients in the training set, one line an arm; and how stable the ranks are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from bench.analysis.curve import ArmRanks, Curve, CurvePoint
from bench.analysis.info import ReportInfo
from bench.report.charts.style import LABEL, arm_looks, figure, legend_columns

SPREAD = 0.012  # of the axis: points of several arms at one size stand side by side


def caption(info: ReportInfo) -> str:
    """Return the caption of the learning curve."""
    return (
        f"{info.unit.metric[:1].upper()}{info.unit.metric[1:]} against the {info.unit.groups} in a training set; 95 % "
        f"intervals over training sets and test {info.unit.groups}. The horizontal distance from an arm to the line of "
        f"`none` is its worth in {info.unit.groups}."
    )


def draw_curve(curve: Curve, info: ReportInfo, path: Path) -> None:
    """Draw one panel for each classifier; `none` has a band, the other arms have bars."""
    classifiers = [c for c in info.classifiers if any(p.classifier == c for p in curve.points)]
    arms = list(dict.fromkeys(p.arm for p in curve.points))
    looks = arm_looks(arms, info.methods)
    scale = 1.0 if info.endpoint == "log_loss" else 100.0
    width = 1.6 + 3.9 * len(classifiers)
    columns = legend_columns([a.label for a in arms], width)
    height = 3.4 + 0.2 * math.ceil(len(arms) / columns)
    with figure(path, 1, len(classifiers), width, height, sharey=True) as (fig, axes):
        for ax, classifier in zip(axes[0], classifiers, strict=True):
            for i, arm in enumerate(arms):
                points = sorted(
                    (p for p in curve.points if (p.classifier, p.arm) == (classifier, arm)),
                    key=lambda p: p.train_patients,
                )
                shift = 1 + SPREAD * (i - (len(arms) - 1) / 2)
                _draw(ax, points, looks[arm], scale, 1.0 if arm.method == "none" else shift, arm.method == "none")
            ax.set_xscale("log")
            ax.set_xticks(info.sizes, [str(n) for n in info.sizes])
            ax.minorticks_off()
            ax.set(title=classifier if len(classifiers) > 1 else "", xlabel=f"training {info.unit.groups}")
        unit = "" if scale == 1 else " (%)"
        axes[0][0].set_ylabel(f"{info.unit.metric.partition(',')[0]}{unit}")
        handles = [_handle(a.label, looks[a]) for a in arms]
        fig.legend(handles=handles, loc="outside lower center", ncols=columns, handlelength=2.6)


def _draw(ax, points: Sequence[CurvePoint], look, scale: float, shift: float, band: bool) -> None:  # type: ignore[no-untyped-def]
    x = [p.train_patients * shift for p in points]
    y = [scale * p.score.mean for p in points]
    low, high = ([scale * getattr(p.score, end) for p in points] for end in ("low", "high"))
    ax.plot(x, y, color=look.colour, ls=look.dashes, marker=look.marker, ms=4.4, zorder=3)
    if band:
        ax.fill_between(x, low, high, color=look.colour, alpha=0.12, lw=0)
    else:
        ax.vlines(x, low, high, color=look.colour, lw=0.9, alpha=0.7)


def _handle(name: str, look):  # type: ignore[no-untyped-def]
    from matplotlib.lines import Line2D

    return Line2D([], [], color=look.colour, ls=look.dashes, marker=look.marker, ms=4.4, label=name)


def ranks_caption(info: ReportInfo) -> str:
    """Return the caption of the chart of ranks."""
    return (
        f"How often each arm takes each rank if training sets and test {info.unit.groups} are drawn again (bootstrap), "
        f"with {info.verdict_size} training {info.unit.groups}; rank 1 is the best."
    )


def draw_ranks(ranks: Sequence[ArmRanks], path: Path) -> None:
    """Draw a small table of shares for each classifier, arms sorted by mean rank."""
    classifiers = list(dict.fromkeys(r.classifier for r in ranks))
    most = max(len([r for r in ranks if r.classifier == c]) for c in classifiers)
    names = max(len(r.arm.label) for r in ranks)
    width = (0.6 + 0.075 * names + 0.36 * most) * len(classifiers)
    with figure(path, 1, len(classifiers), width, 0.9 + 0.24 * most) as (fig, axes):
        for ax, classifier in zip(axes[0], classifiers, strict=True):
            mine = [r for r in ranks if r.classifier == classifier]
            mine.sort(key=lambda r: sum(i * s for i, s in enumerate(r.shares)))
            ax.imshow([r.shares for r in mine], cmap="Blues", vmin=0, vmax=1.15, aspect="auto")
            for y, r in enumerate(mine):
                for x, share in enumerate(r.shares):
                    if share >= 0.005:
                        colour = "white" if share > 0.6 else "black"
                        ax.text(x, y, f"{100 * share:.0f}", ha="center", va="center", color=colour, fontsize=7.5)
            ax.set_xticks(range(len(mine)), range(1, len(mine) + 1))
            ax.set_yticks(range(len(mine)), [r.arm.label for r in mine])
            ax.grid(False)
            ax.tick_params(length=0)
            ax.set(title=classifier if len(classifiers) > 1 else "")
        fig.supxlabel("rank (share of draws in %)", fontsize=LABEL)
