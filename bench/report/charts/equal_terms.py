"""All generative arms on equal terms: KID, and the change of the primary score, against the device time of a pair."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.analysis.comparison import Comparison
from bench.analysis.equal_terms import ArmTerms, real_baseline
from bench.analysis.info import ReportInfo
from bench.report.charts.labels import Named, label_marks
from bench.report.charts.style import GREY, LABEL, Look, figure, method_looks, plain_log
from bench.suite.arms import Arm
from bench.suite.contrast import NOISE, NONE

CLASSIFIERS = 2  # panels of the change; the table shows all classifiers
SPREAD = 10.0  # ratio of values from which an axis is logarithmic
MINUTES = 120.0  # seconds from which times are shown in minutes
MARK = 5.0  # points
NEAR = 0.02  # of the axis: smallest distance of two marks
BAND = "#f0f0f0"  # interval of noise; blue bands are equivalence margins
REAL = "real-vs-real baseline"


@dataclass(frozen=True)
class Mark:
    """A value of an arm and its interval (NaN: none); marks that are not ``decided`` are hollow."""

    arm: ArmTerms
    y: float
    low: float = math.nan
    high: float = math.nan
    decided: bool = True


@dataclass(frozen=True)
class Panel:
    """One panel: marks, horizontal lines (name, y), and a shaded band (NaN: none)."""

    title: str
    ylabel: str
    marks: Sequence[Mark]
    lines: Sequence[tuple[str, float]]
    band: tuple[float, float] = (math.nan, math.nan)
    logarithmic: bool = False


def shown_terms(found: Sequence[ArmTerms], info: ReportInfo) -> list[ArmTerms]:
    """Return the arms of the chart: those at the largest ratio, without the ones that exclude memorised samples."""
    ratios = [arm.ratio for r in info.ratios if not (arm := Arm.parse("", r)).subset]
    kept = [x for x in found if x.arm.ratio == ratios[-1] and not x.arm.exclude_memorised] if ratios else []
    return kept if any(x.total_s > 0 and x.arm.method != NOISE and _has_mark(x) for x in kept) else []


def _has_mark(x: ArmTerms) -> bool:
    return bool(x.kid.n or x.changes)


def caption(found: Sequence[ArmTerms], info: ReportInfo) -> str:
    """Return the caption."""
    of = f" of arms at {found[0].arm.base.variant_label}" if len(info.ratios) > 1 else ""
    shown = [f"KID{of} (lower is better)"] if any(x.kid.n for x in found) else []
    if any(x.changes for x in found):
        shown.append("difference to `none` (95 % interval; filled: decided; shaded: noise)")
    return f"{' and '.join(shown)} against device time."


def draw_equal_terms(found: Sequence[ArmTerms], info: ReportInfo, path: Path) -> None:
    """Draw a panel of KID, and one of the change for each of the first classifiers; noise is a line in all."""
    arms = [x for x in found if x.arm.method != NOISE and x.total_s > 0]
    noise = next((x for x in found if x.arm.method == NOISE), None)
    classifiers = [c for c in info.classifiers if any(x.change(c) for x in arms)][:CLASSIFIERS]
    panels = [_kid(arms, noise)] if any(x.kid.n for x in arms) else []
    panels += [_changes(arms, noise, c, info) for c in classifiers]
    times = [x.total_s for x in arms]
    logarithmic = max(times) > SPREAD * min(times)
    unit, scale = ("min", 60.0) if max(times) >= MINUTES else ("s", 1.0)
    one = "training set" if info.is_curve else "fold"
    xlabel = f"device time of a generator and its images, per {one} ({unit}{', log scale' * logarithmic})"
    looks, named = method_looks(info.methods), []
    with figure(path, 1, len(panels), 0.3 + 3.6 * len(panels), 3.7) as (fig, axes):
        fig.supxlabel(xlabel, fontsize=LABEL)
        for ax, panel in zip(axes[0], panels, strict=True):
            ax.set_xscale("log" if logarithmic else "linear")
            at = _apart([m.arm.total_s / scale for m in panel.marks], logarithmic)
            _draw(ax, panel, looks, at)
            _limits(ax, panel, max(times) / scale)
            named.append([Named(_name(m.arm.arm), x, m.y, m.low, m.high) for m, x in zip(panel.marks, at, strict=True)])
        for ax, panel, names in zip(axes[0], panels, named, strict=True):
            label_marks(ax, names, panel.lines)


def _apart(times: Sequence[float], logarithmic: bool) -> list[float]:
    """Return the positions of marks: equal times stand side by side, so that their intervals can be seen."""
    scaled = [math.log(t) if logarithmic else t for t in times]
    gap = NEAR * (max(scaled) - (min(scaled) if logarithmic else 0.0) or 1.0)
    placed: dict[int, float] = {}
    for i in sorted(range(len(scaled)), key=lambda i: scaled[i]):
        placed[i] = max(scaled[i], max(placed.values(), default=-math.inf) + gap)
    return [math.exp(placed[i]) if logarithmic else placed[i] for i in range(len(scaled))]


def _name(arm: Arm) -> str:
    """Return the method, and how its images were selected; the caption names the ratio."""
    return arm.method + (f" ({arm.selection.replace('_', ' ')} {arm.keep:g})" if arm.is_selected else "")


def _draw(ax: Any, panel: Panel, looks: Mapping[str, Look], at: Sequence[float]) -> None:
    if math.isfinite(panel.band[0]):
        ax.axhspan(*panel.band, color=BAND, lw=0)
    for name, y in panel.lines:
        ax.axhline(y, color=GREY, lw=0.8, ls="--" if name == NOISE else "-", zorder=1)
    for m, x in zip(panel.marks, at, strict=True):
        look = looks[m.arm.arm.method]
        if math.isfinite(m.low) and math.isfinite(m.high):
            ax.plot([x, x], [m.low, m.high], color=look.colour, lw=1.2, zorder=2)
        face = look.colour if m.decided else "white"
        ax.plot(x, m.y, look.marker, color=look.colour, mfc=face, ms=MARK, zorder=3)
    ax.set(title=panel.title, ylabel=panel.ylabel)


def _limits(ax: Any, panel: Panel, longest: float) -> None:
    """Set the final limits, with room for labels."""
    if panel.logarithmic:
        ax.set_yscale("log")
    ax.margins(x=0.12, y=0.1)
    ax.autoscale_view()
    if ax.get_xscale() == "log":
        plain_log(ax.xaxis)
    else:
        ax.set_xlim(0, 1.3 * longest)
    if panel.logarithmic:
        plain_log(ax.yaxis)
    ax.set(xlim=ax.get_xlim(), ylim=ax.get_ylim())


def _kid(arms: Sequence[ArmTerms], noise: ArmTerms | None) -> Panel:
    """Return the panel of KID; lines show noise and the real-vs-real baseline."""
    marks = [Mark(x, x.kid.mean) for x in arms if x.kid.n]
    known = [(NOISE, noise.kid.mean if noise else math.nan), (REAL, real_baseline(arms))]
    lines = [(name, y) for name, y in known if math.isfinite(y)]
    if min(m.y for m in marks) <= 0:  # an unbiased estimate can be below 0
        return Panel("Synthetic images", "KID, test images", marks, lines)
    lines = [(name, y) for name, y in lines if y > 0]
    return Panel("Synthetic images", "KID, test images (log scale)", marks, lines, logarithmic=True)


def _changes(arms: Sequence[ArmTerms], noise: ArmTerms | None, classifier: str, info: ReportInfo) -> Panel:
    """Return the panel of the changes against `none`, in points; the line of noise has the band of its interval."""
    marks = [_change(x, c) for x in arms if (c := x.change(classifier))]
    lines, band = [(NONE, 0.0)], (math.nan, math.nan)
    if noise and (c := noise.change(classifier)):
        m = _change(noise, c)
        lines, band = [*lines, (NOISE, m.y)], (m.low, m.high)
    title = classifier if len(info.classifiers) > 1 else "Classifiers"
    ylabel = f"difference in {info.unit.endpoint_name} (points)"
    return Panel(title, ylabel, marks, lines, band=band)


def _change(x: ArmTerms, c: Comparison) -> Mark:
    v = c.verdict
    return Mark(x, 100 * v.difference, 100 * max(v.low, -1.0), 100 * min(v.high, 1.0), v.word != "undecided")
