"""Forest chart: difference of every arm on every data set, and the overall mean."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.analysis.datasets.effects import MEASURES, At, Measure, SubSuite
from bench.analysis.datasets.overall import Pooled
from bench.report.charts.forest import Mark, Panel, forest
from bench.report.charts.style import BLACK, method_looks

TITLES: dict[Measure, str] = {
    "gain": "balanced accuracy,\nminus none (points)",
    "from_scratch": "balanced accuracy,\nminus random weights (points)",
    "kid": "KID,\nminus random weights",
}
OVERALL = "H"
ROW = 0.125  # inches


def caption(pooled: Sequence[Pooled]) -> str:
    """Return the caption; the overall mean is explained only if there is one."""
    overall = (
        "; black hexagons: overall mean (random effects, Hartung–Knapp interval), with the 95 % prediction interval "
        "for another data set as a thin line"
    )
    return (
        f"Each data set's mean paired difference with its 95 % interval{overall if _overall(pooled) else ''}. "
        "Accuracy is patient-level; shaded: the equivalence margin. Filled: decided. No line: no interval."
    )


def described(pooled: Sequence[Pooled]) -> str:
    """Return the alternative text of the figure."""
    overall = ", and overall" if _overall(pooled) else ""
    return f"Forest chart: every arm's difference on every data set{overall}; the tables have its numbers"


def _overall(pooled: Sequence[Pooled]) -> bool:
    return any(math.isfinite(p.found.mean) for p in pooled)


def draw_cross_dataset(sub_suites: Sequence[SubSuite], pooled: Sequence[Pooled], path: Path) -> bool:
    """Draw one panel for each measure and classifier, one block of rows for each arm; False if there is no data."""
    found = dict.fromkeys((p.at.measure, p.at.classifier) for p in pooled)
    arms = list(dict.fromkeys(_arm(p.at) for p in pooled))
    if not found:
        return False
    block = len(sub_suites) + 1.8  # rows of an arm: its data sets, the overall row, a gap
    top = {arm: i * block for i, arm in enumerate(arms)}
    panels = []
    for measure, classifier in sorted(found, key=lambda panel: MEASURES.index(panel[0])):
        mine = [p for p in pooled if (p.at.measure, p.at.classifier) == (measure, classifier)]
        marks = [m for p in mine for m in _marks(p, top[_arm(p.at)], sub_suites, 1 if measure == "kid" else 100)]
        margin = 0.0 if measure == "kid" else 100 * sub_suites[0].margin
        panels.append(Panel(classifier or "generators", TITLES[measure], marks, margin))
    names = {y + len(sub_suites) / 2: arm for arm, y in top.items()}
    forest(panels, names, path, legend=_legend(sub_suites, _overall(pooled)), row=ROW)
    return True


def _arm(at: At) -> str:
    """Return the name of the block: the method, without a ratio of 1, so that KID and accuracy share a block."""
    return at.arm.split()[0] if at.measure == "kid" else at.arm.removesuffix(" ×1")


def _marks(p: Pooled, top: float, sub_suites: Sequence[SubSuite], unit: float) -> list[Mark]:
    """Return the marks of an arm: one for each data set, then the overall mean."""
    order, looks = [m.name for m in sub_suites], method_looks([m.name for m in sub_suites])
    marks = [
        Mark(
            top + order.index(name), unit * e.difference, unit * e.low, unit * e.high,
            looks[name].colour, looks[name].marker, e.word != "undecided",
        )
        for name, e in p.effects
    ]  # fmt: skip
    t = p.found
    if math.isfinite(t.mean):
        wide = (unit * t.next_low, unit * t.next_high)
        decided = p.word != "undecided"
        marks.append(Mark(top + len(order), unit * t.mean, unit * t.low, unit * t.high, BLACK, OVERALL, decided, wide))
    return marks


def _legend(sub_suites: Sequence[SubSuite], overall: bool) -> Mapping[str, Mark]:
    looks = method_looks([m.name for m in sub_suites])
    named = {
        ", ".join(filter(None, (f"{m.name}: {m.dataset}", m.modality))): Mark(
            0, 0, 0, 0, looks[m.name].colour, looks[m.name].marker
        )
        for m in sub_suites
    }
    return named | ({"overall": Mark(0, 0, 0, 0, BLACK, OVERALL)} if overall else {})
