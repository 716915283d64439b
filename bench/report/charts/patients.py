"""Difficult patients: one dot for each test patient and arm, at the share of correctly classified images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.analysis.info import ReportInfo
from bench.analysis.outcomes import Outcome, Patient, rule
from bench.report.charts.style import BLACK, CYCLE, GREY, LABEL, MARKERS, arm_axis, figure, legend_columns
from bench.report.text import join

NAMED = 6  # most patients that a caption names
ROW, MORE = 0.62, 0.006  # inches for each arm, and more for each patient
FAILS = "fails in every arm"
SEVERAL = "several classes"  # label of a group with images of more than one class
WRONG = 0.5  # a patient fails if a smaller share of the images is correct


def caption(found: Sequence[Outcome], info: ReportInfo) -> str:
    """Return the caption, with the patients that fail in every arm."""
    text = (
        f"Test {info.data.groups}: one dot each, at the share of correctly classified images over all pairs (fold × "
        "repeat) that test it. The height is the same in every row: sorted by class, then by mean share over all arms, "
        "highest at the top. Ringed: less than half correct in every arm shown"
    )
    failing = {c: failing_everywhere([o for o in found if o.classifier == c]) for c in _classifiers(found)}
    said = [f"{len(patients)} with {c}{_names(patients)}" for c, patients in failing.items() if patients]
    return f"{text} ({join(said) if said else 'none'}). {rule(info)}"


def _names(patients: Sequence[Patient]) -> str:
    names = [f"`{group}`" for group, _ in patients]
    return f": {join(names)}" if len(names) <= NAMED else ""


def _classifiers(found: Sequence[Outcome]) -> list[str]:
    return list(dict.fromkeys(o.classifier for o in found))


def failing_everywhere(found: Sequence[Outcome]) -> list[Patient]:
    """Return the patients with less than half of the images correct in each of these arms."""
    shares = [o.shares for o in found]
    everywhere = set.intersection(*(set(s) for s in shares)) if shares else set()
    return sorted(p for p in everywhere if all(s[p] < WRONG for s in shares))


def draw_patients(found: Sequence[Outcome], path: Path, classes: Sequence[str]) -> None:
    """Draw one row for each arm, one panel for each classifier."""
    classifiers, arms = _classifiers(found), list(dict.fromkeys(o.arm for o in found))
    labels = {label for o in found for _, label in o.shares}
    classes = [*classes, SEVERAL] if len(classes) in labels else classes
    number = max(len(o.shares) for o in found)
    width, height = 2.0 + 2.5 * len(classifiers), 1.1 + min(1.4, ROW + MORE * number) * len(arms)
    with figure(path, 1, len(classifiers), width, height, sharey=True) as (fig, axes):
        ringed = False
        for ax, classifier in zip(axes[0], classifiers, strict=True):
            panel = [o for o in found if o.classifier == classifier]
            _draw(ax, panel, [arms.index(o.arm) for o in panel], classes)
            ringed |= bool(failing_everywhere(panel))
            ax.set(title=classifier, xlim=(-4, 104))
            arm_axis(ax, arms, named=classifier == classifiers[0])
            ax.set_xticks(range(0, 101, 25))
        fig.supxlabel("share of the patient's test images classified correctly (%)", fontsize=LABEL)
        _legend(fig, classes, width, ringed)


def _draw(ax: Any, panel: Sequence[Outcome], rows: Sequence[int], classes: Sequence[str]) -> None:
    shares = [o.shares for o in panel]
    patients = sorted({p for s in shares for p in s})
    mean = {p: sum(s.get(p, 0.0) for s in shares) / sum(p in s for s in shares) for p in patients}
    ranked = sorted(patients, key=lambda p: (p[1], -mean[p]))
    height = {p: 0.88 * ((i + 0.5) / len(ranked) - 0.5) for i, p in enumerate(ranked)}
    ringed, size = failing_everywhere(panel), 3.4 if len(ranked) <= 60 else 2.6
    ax.axvline(100 * WRONG, color=GREY, lw=0.8)
    for row, of_arm in zip(rows, shares, strict=True):
        ax.axhline(row + 0.5, color="#d0d0d0", lw=0.6)
        for label in range(len(classes)):
            dots = [p for p in of_arm if p[1] == label]
            x, y = [100 * of_arm[p] for p in dots], [row + height[p] for p in dots]
            colour, marker = _mark(label)
            ax.plot(x, y, marker, color=colour, ms=size, mew=0, alpha=0.85, zorder=3)
        x, y = [100 * of_arm[p] for p in ringed], [row + height[p] for p in ringed]
        ax.plot(x, y, "o", color=BLACK, mfc="none", ms=size + 2.8, mew=0.7, zorder=4)


def _mark(label: int) -> tuple[str, str]:
    return CYCLE[label % len(CYCLE)], MARKERS[label % len(MARKERS)]


def _legend(fig: Any, classes: Sequence[str], width: float, ringed: bool) -> None:
    from matplotlib.lines import Line2D

    names = [f" {c}" if c.startswith("_") else c for c in classes]  # matplotlib ignores labels that start with _
    marks = [Line2D([], [], color=_mark(i)[0], marker=_mark(i)[1], lw=0, ms=4.5, mew=0, label=c)
             for i, c in enumerate(names)]  # fmt: skip
    columns = legend_columns([*classes, FAILS], width)
    ring = Line2D([], [], color=BLACK, marker="o", mfc="none", lw=0, ms=6.2, mew=0.8, label=FAILS)
    fig.legend(handles=[*marks, ring] if ringed else marks, loc="outside upper right", ncols=columns, handlelength=1.2)
