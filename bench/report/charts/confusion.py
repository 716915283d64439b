"""Confusion matrices summed over pairs: counts, shaded by the share of the true class."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.analysis.info import ReportInfo
from bench.analysis.outcomes import Outcome, rule
from bench.report.charts.pages import wrapped
from bench.report.charts.style import LABEL, figure
from bench.suite.arms import Arm

CLASSIFIERS = 2  # in one figure
FEW = 2  # classes up to which the matrices of a classifier fit in one row
MANY = 4  # classes; with more, numbers are smaller
WIDTH = 7.6  # inches


def caption(info: ReportInfo, per_patient: bool) -> str:
    """Return the caption."""
    unit, how = "images", ""
    if per_patient:
        unit, how = info.unit.groups, ", each by the mean probability of its images"
    counted = f"Confusion of the test {unit}{how}, summed over pairs (fold × repeat)"
    if len({f.repeat for f in info.folds}) > 1:
        counted += f": repeats count the same {unit} again"
    return (
        f"{counted}. Rows are the true class, columns the predicted one; numbers are {unit}, shading is the share of "
        f"the true class, from white (0 %) to dark (100 %). {rule(info)}"
    )


def per_page(info: ReportInfo) -> int:
    """Return the number of classifiers in one figure."""
    return CLASSIFIERS if len(info.classes) <= FEW else 1


def draw_confusion(found: Sequence[Outcome], path: Path, classes: Sequence[str], per_patient: bool) -> None:
    """Draw one panel for each outcome: for two classes by arm (columns) and classifier (rows), else in reading
    order."""
    classifiers = list(dict.fromkeys(o.classifier for o in found))
    arms = list(dict.fromkeys(o.arm for o in found))
    longest = max(map(len, classes))
    upright = len(classes) > FEW or longest > 9
    side = 1.45 if len(classes) <= FEW else 0.5 + 0.28 * len(classes)
    names = 0.3 + 0.07 * longest
    columns = len(arms) if len(classes) <= FEW else min(len(arms), max(2, int(WIDTH / side)))
    rows = len(classifiers) * math.ceil(len(arms) / columns)
    width, height = names + 0.2 + side * columns, 0.4 + (names if upright else 0.3) + (side + 0.35) * rows
    with figure(path, rows, columns, width, height) as (fig, axes):
        for ax in axes.flat:
            ax.set_visible(False)
        for o in found:
            i = arms.index(o.arm)
            row, column = classifiers.index(o.classifier) * math.ceil(len(arms) / columns) + i // columns, i % columns
            ax, lowest = axes[row, column], row == rows - 1 or (i + columns >= len(arms) and len(classifiers) == 1)
            _draw(ax, o.confusion(per_patient), o.arm, side)
            ax.set_yticks(range(len(classes)), classes if column == 0 else [])
            ax.set_xticks(range(len(classes)), classes if lowest else [], rotation=90 if upright else 0)
            if column == 0:
                ax.set_ylabel(f"{o.classifier}\ntrue class" if len(classifiers) > 1 else "true class")
            if lowest:
                ax.set_xlabel("predicted class")
        if len(classifiers) == 1:
            fig.suptitle(classifiers[0], fontsize=9.5)


def _draw(ax: Any, matrix: np.ndarray, arm: Arm, side: float) -> None:
    total = matrix.sum(axis=1, keepdims=True)
    share = np.divide(matrix, total, out=np.zeros_like(matrix), where=total > 0)
    ax.imshow(share, cmap="Blues", vmin=0, vmax=1)
    size = 7.5 if len(matrix) <= MANY else 6.5
    for (i, j), count in np.ndenumerate(matrix):
        colour = "white" if share[i, j] > 0.55 else "black" if count else "#b5b5b5"
        ax.text(j, i, f"{count:.0f}", ha="center", va="center", fontsize=size, color=colour)
    ax.grid(False)
    ax.tick_params(length=0, labelsize=7.5)
    for spine in ax.spines.values():
        spine.set_visible(True)
    ax.set_title(wrapped(arm.label, max(14, int(13 * side))), fontsize=LABEL)
    ax.set_visible(True)
