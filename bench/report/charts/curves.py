"""ROC and precision-recall curves: mean and range over pairs, one panel for each classifier."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from bench.analysis.info import ReportInfo
from bench.analysis.outcomes import Outcome, rule
from bench.metrics.curves import FPR_GRID, RECALL_GRID
from bench.report.charts.style import GREY, Look, arm_looks, figure

Panel = tuple[Any, list[tuple[Outcome, Look]]]  # axes, and the outcomes drawn in them


def roc_caption(info: ReportInfo) -> str:
    """Return the caption."""
    return (
        f"ROC curves of the test images, {_positive(info)}: mean over pairs (fold × repeat) at equal false positive "
        "rates, shaded from the lowest to the highest pair. In the legends: AUROC, mean and range over pairs. "
        f"Dotted grey: chance. {rule(info)}"
    )


def precision_recall_caption(info: ReportInfo) -> str:
    """Return the caption."""
    return (
        f"Precision-recall curves of the test images, {_positive(info)}: step functions, because no threshold gives "
        "values between two points; mean over pairs (fold × repeat) at equal recalls, shaded from the lowest to the "
        "highest pair. In the legends: AUPRC (average precision), mean and range over pairs. Dotted grey: the "
        f"prevalence, the precision at chance level. {rule(info)}"
    )


def _positive(info: ReportInfo) -> str:
    if info.positive_class:
        other = info.classes[1 - info.positive_label]
        return f"{info.positive_class} against {other} (positive class: {info.positive_class})"
    return f"one class against the rest, averaged over the {len(info.classes)} classes"


def draw_roc(found: Sequence[Outcome], path: Path, methods: Sequence[str]) -> None:
    """Draw one panel for each classifier."""
    with _panels(
        found, methods, path, "false positive rate (1 − specificity)", "true positive rate (sensitivity)"
    ) as panels:
        for ax, outcomes in panels:
            ax.plot([0, 1], [0, 1], ":", color=GREY, lw=1, zorder=1)
            for outcome, look in outcomes:
                values = np.array([c.values for c in outcome.curves("roc")])
                at = np.append(0.0, FPR_GRID)  # every curve starts at (0, 0) and may rise vertically
                mean, low, high = (np.append(0.0, f(values, axis=0)) for f in (np.mean, np.min, np.max))
                ax.plot(at, mean, color=look.colour, ls=look.dashes, label=_label(outcome, "roc"), zorder=3)
                if len(values) > 1:
                    ax.fill_between(at, low, high, color=look.colour, alpha=0.13, lw=0, zorder=2)


def draw_precision_recall(found: Sequence[Outcome], path: Path, methods: Sequence[str]) -> None:
    """Draw one panel for each classifier."""
    with _panels(found, methods, path, "recall (sensitivity)", "precision (positive predictive value)") as panels:
        for ax, outcomes in panels:
            chance = float(np.mean([p.prevalence for outcome, _ in outcomes for p in outcome.pairs]))
            ax.axhline(chance, ls=":", color=GREY, lw=1, zorder=1)
            for outcome, look in outcomes:
                values = np.array([c.values for c in outcome.curves("precision_recall")])
                at = np.append(0.0, RECALL_GRID)
                mean, low, high = (f(values, axis=0) for f in (np.mean, np.min, np.max))
                mean, low, high = (np.append(line[0], line) for line in (mean, low, high))
                label = _label(outcome, "precision_recall")
                ax.step(at, mean, where="pre", color=look.colour, ls=look.dashes, label=label, zorder=3)
                if len(values) > 1:
                    ax.fill_between(at, low, high, step="pre", color=look.colour, alpha=0.13, lw=0, zorder=2)


@contextmanager
def _panels(
    found: Sequence[Outcome], methods: Sequence[str], path: Path, xlabel: str, ylabel: str
) -> Iterator[list[Panel]]:
    """Yield one panel over [0, 1] for each classifier, with a legend below."""
    classifiers = list(dict.fromkeys(o.classifier for o in found))
    looks = arm_looks(list(dict.fromkeys(o.arm for o in found)), methods)
    n, legend = len(classifiers), 0.1 + 0.17 * len(looks)
    options = {"sharey": "row", "height_ratios": [2.75, legend]}
    with figure(path, 2, n, 0.55 + 2.75 * n, 3.2 + legend, **options) as (_, axes):
        panels = [
            (ax, [(o, looks[o.arm]) for o in found if o.classifier == c])
            for ax, c in zip(axes[0], classifiers, strict=True)
        ]
        yield panels
        for ax, below, classifier in zip(axes[0], axes[1], classifiers, strict=True):
            ax.set(title=classifier, xlabel=xlabel, xlim=(-0.015, 1.015), ylim=(-0.015, 1.015))
            below.set_axis_off()
            below.legend(*ax.get_legend_handles_labels(), loc="upper center", handlelength=3.4, borderaxespad=0)
        axes[0, 0].set_ylabel(ylabel)


def _label(outcome: Outcome, kind: str) -> str:
    areas = [c.area for c in outcome.curves(kind)]
    text = f"{outcome.arm.label}: {np.mean(areas):.3f}"
    return text if len(areas) == 1 else f"{text} [{min(areas):.3f}, {max(areas):.3f}]"
