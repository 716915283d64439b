"""Forest chart: difference of every arm on every data set, and the overall mean."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.analysis.datasets.effects import MEASURES, At, Measure, SubSuite
from bench.analysis.datasets.overall import Pooled
from bench.report.charts.style import BLACK, GREY, figure, legend_columns, method_marks

TITLES: dict[Measure, str] = {
    "gain": "balanced accuracy,\nminus none (points)",
    "from_scratch": "balanced accuracy,\nminus random weights (points)",
    "kid": "KID,\nminus random weights",
}
OVERALL = "H"
Panel = tuple[Measure, str]


def caption(pooled: Sequence[Pooled]) -> str:
    """Return the caption; the overall mean is explained only if there is one."""
    overall = (
        "; black hexagons: overall mean (random effects, Hartung–Knapp interval), with the 95 % prediction interval "
        "for another data set as a thin line"
    )
    return (
        f"Each data set's mean paired difference with its 95 % interval{overall if _overall(pooled) else ''}. "
        "Accuracy is patient-level; shaded: the equivalence margin. Arrowheads: the interval extends beyond the axis. "
        "Hollow: no interval."
    )


def described(pooled: Sequence[Pooled]) -> str:
    """Return the alternative text of the figure."""
    overall = ", and overall" if _overall(pooled) else ""
    return f"Forest chart: every arm's difference on every data set{overall}; the tables have its numbers"


def _overall(pooled: Sequence[Pooled]) -> bool:
    return any(math.isfinite(p.found.mean) for p in pooled)


def draw_cross(sub_suites: Sequence[SubSuite], pooled: Sequence[Pooled], path: Path) -> bool:
    """Draw one panel for each measure and classifier, one block of rows for each arm; False if there is no data."""
    found: dict[Panel, None] = dict.fromkeys((p.at.measure, p.at.classifier) for p in pooled)
    panels = sorted(found, key=lambda panel: MEASURES.index(panel[0]))
    arms = list(dict.fromkeys(_arm(p.at) for p in pooled))
    if not panels:
        return False
    height = len(sub_suites) + 1.8  # of a block: its data sets, the overall row, a gap
    top = {arm: i * height for i, arm in enumerate(arms)}
    width = 2.0 + 2.3 * len(panels)
    columns = legend_columns([_called(m) for m in sub_suites], width, most=3)
    inches = 1.2 + 0.17 * math.ceil((len(sub_suites) + 1) / columns) + 0.125 * height * len(arms)
    with figure(path, 1, len(panels), width, inches, sharey=True) as (fig, axes):
        for ax, panel in zip(axes[0], panels, strict=True):
            mine = {_arm(p.at): p for p in pooled if (p.at.measure, p.at.classifier) == panel}
            _panel(ax, panel, mine, top, sub_suites)
        axes[0][0].set_ylim(height * len(arms) - 0.9, -0.9)
        axes[0][0].set_yticks([])
        for arm in arms:
            y = top[arm] + len(sub_suites) / 2
            axes[0][0].text(-0.02, y, arm, transform=axes[0][0].get_yaxis_transform(), ha="right", va="center")
        _legend(fig, sub_suites, columns, _overall(pooled))
    return True


def _arm(at: At) -> str:
    """Return the name of the block: the method, without a ratio of 1, so that KID and accuracy share a block."""
    return at.arm.split()[0] if at.measure == "kid" else at.arm.removesuffix(" ×1")


def _panel(
    ax: Any, panel: Panel, mine: Mapping[str, Pooled], top: Mapping[str, float], sub_suites: Sequence[SubSuite]
) -> None:
    measure, classifier = panel
    unit = 1 if measure == "kid" else 100
    limit = _limit(mine.values(), unit)
    if measure != "kid":
        margin = unit * sub_suites[0].margin
        ax.axvspan(-margin, margin, color="#eef3f7", lw=0)
    ax.axvline(0, color=GREY, lw=0.8)
    order = {m.name: i for i, m in enumerate(sub_suites)}
    marks = method_marks(list(order))
    for arm, pooled in mine.items():
        for name, e in pooled.effects:
            _mark(ax, top[arm] + order[name], (e.difference, e.low, e.high), unit, limit, *marks[name])
        t = pooled.found
        if math.isfinite(t.mean):
            y = top[arm] + len(sub_suites)
            reach = [max(-limit, min(limit, unit * end)) for end in (t.next_low, t.next_high)]
            ax.hlines(y, *reach, color=GREY, lw=0.7)
            _mark(ax, y, (t.mean, t.low, t.high), unit, limit, BLACK, OVERALL)
    ax.set(xlim=(-limit, limit))
    ax.set_title(f"{classifier}\n" if classifier else "generators\n", fontsize=9)
    ax.set_xlabel(TITLES[measure], fontsize=8)
    ax.locator_params(axis="x", nbins=6)


def _mark(
    ax: Any, y: float, found: tuple[float, float, float], unit: float, limit: float, colour: str, marker: str
) -> None:
    mean, low, high = (unit * x for x in found)
    known = math.isfinite(low)
    if known:
        ax.hlines(y, max(low, -limit), min(high, limit), color=colour, lw=1.3)
        for end, sign, arrow in ((low, -1, "<"), (high, 1, ">")):
            if sign * end > limit:
                ax.plot(sign * limit * 0.985, y, arrow, color=colour, ms=3.5, clip_on=False)
    ax.plot(mean, y, marker, color=colour, mfc=colour if known else "white", ms=4.2, zorder=3)


def _limit(pooled: Iterable[Pooled], unit: float) -> float:
    """Return half the axis width: covers all means, and intervals as far as the means stay legible."""
    found = [(e.difference, e.low, e.high) for p in pooled for _, e in p.effects]
    means = unit * max(abs(d) for d, *_ in found)
    ends = unit * max((abs(x) for _, low, high in found for x in (low, high) if math.isfinite(x)), default=0.0)
    legible, least = (3.5 * means, 1e-6) if unit == 1 else (max(3.5 * means, 10.0), 3.0)
    return max(1.15 * means, min(1.08 * ends, legible), least)


def _legend(fig: Any, sub_suites: Sequence[SubSuite], columns: int, overall: bool) -> None:
    from matplotlib.lines import Line2D

    look = method_marks([m.name for m in sub_suites])
    marks = [
        Line2D([], [], color=look[m.name][0], marker=look[m.name][1], ms=4.2, lw=1.3, label=_called(m))
        for m in sub_suites
    ]
    if overall:
        marks.append(Line2D([], [], color=BLACK, marker=OVERALL, ms=4.2, lw=1.3, label="overall"))
    fig.legend(handles=marks, loc="outside upper center", ncols=columns, handlelength=1.6)


def _called(m: SubSuite) -> str:
    return f"{m.name}: {m.dataset}" + (f", {m.modality}" if m.modality else "")
