"""Forest charts of a suite: differences to `none` by classifier, and to the suite's reference by measure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.analysis.differences import Difference
from bench.analysis.info import ReportInfo
from bench.report.charts.forest import DECIDED, Mark, Panel, forest
from bench.report.charts.pages import Page
from bench.report.charts.style import method_looks
from bench.suite.arms import Arm

CLASSIFIERS = 2  # panels of accuracy to a reference; the tables show all classifiers
SHOWN = {  # kind -> title, what is on the axis, scale
    "kid": ("KID", "difference in KID", 1.0),
    "accuracy": ("accuracy", "difference in accuracy (points)", 100.0),
    "step": ("training step", "difference in device time (ms)", 1000.0),
}


def none_caption(info: ReportInfo) -> str:
    """Return the caption of the chart of differences to `none`."""
    return (
        f"Difference to `none` in {info.unit.metric}: mean and 95 % interval of the test (no line: none). "
        "Filled: decided. Shaded: equivalence margin. One colour per method in all charts."
    )


def draw_none(page: Page, info: ReportInfo, path: Path) -> None:
    """Draw the mean paired difference to none with its corrected interval: one panel for each classifier."""
    looks, panels = method_looks(info.methods), []
    for classifier in page.classifiers:
        marks = []
        for arm, line in page.panel(classifier).items():
            v = line.verdict("none")
            ends = (100 * max(v.low, -1.0), 100 * min(v.high, 1.0)) if v.low == v.low else (v.low, v.high)
            look = looks[arm.method]
            at = page.arms.index(arm)
            marks.append(Mark(at, 100 * v.difference, *ends, look.colour, look.marker, v.word != "undecided"))
        panels.append(Panel(classifier, "", marks, 100 * info.margin))
    xlabel = f"difference to none in {info.unit.level} {info.unit.endpoint_name} (percentage points)"
    forest(panels, {i: arm.label for i, arm in enumerate(page.arms)}, path, xlabel, DECIDED)


def caption(info: ReportInfo) -> str:
    """Return the caption of the chart of differences to the reference."""
    return (
        f"Difference to `{info.reference}`, paired: mean and 95 % interval. Left is closer to real images (KID), right "
        f"is better ({info.unit.metric}), left is faster (training step). Filled: decided after Holm's correction."
    )


def draw_differences(found: Sequence[Difference], info: ReportInfo, path: Path) -> None:
    """Draw the panels side by side; accuracy at the largest ratio, of the first classifiers."""
    methods = [m for m in info.generative if m != info.reference]
    looks = method_looks(info.methods)
    ratio = max((d.arm.variant for d in found if d.kind == "accuracy"), key=info.ratios.index, default="")
    shown = [d for d in found if d.kind in SHOWN and (d.kind != "accuracy" or d.arm.variant == ratio)]
    shown = [d for d in shown if d.kind != "accuracy" or d.classifier in info.classifiers[:CLASSIFIERS]]
    panels = []
    for kind, metric, classifier in dict.fromkeys((d.kind, d.metric, d.classifier) for d in shown):
        title, label, scale = SHOWN[kind]
        marks = [
            Mark(
                methods.index(d.arm.method), scale * d.mean, scale * d.low, scale * d.high,
                looks[d.arm.method].colour, looks[d.arm.method].marker, d.word != "undecided",
            )
            for d in shown if (d.kind, d.metric, d.classifier) == (kind, metric, classifier)
        ]  # fmt: skip
        panels.append(
            Panel(f"{classifier}\n{Arm.parse('', ratio).variant_label}" if classifier else title, label, marks)
        )
    forest(panels, dict(enumerate(methods)), path, legend=DECIDED)
