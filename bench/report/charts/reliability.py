"""Reliability diagrams: accuracy by confidence, with the number of images in each bin below."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.analysis.info import ReportInfo
from bench.analysis.outcomes import Outcome, rule
from bench.metrics.calibration import BINS
from bench.report.charts.pages import wrapped
from bench.report.charts.style import BLUE, GREY, LABEL, VERMILLION, figure


def caption(info: ReportInfo) -> str:
    """Return the caption."""
    return (
        f"Reliability on the test images: accuracy by confidence (largest probability), in {BINS} bins of equal "
        "width over [0, 1], all pairs (fold × repeat) pooled; a bar from each bin's mean confidence on the dashed "
        "line to its accuracy: red below the line is overconfident. Bottom: images in each bin. ECE: expected "
        "calibration error in these bins, mean over pairs of each pair's own (pooled, errors may cancel). "
        f"{rule(info)}"
    )


def draw_reliability(found: Sequence[Outcome], path: Path) -> None:
    """Draw two panels for each outcome: one column for each arm, two rows for each classifier."""
    classifiers, arms = (list(dict.fromkeys(getattr(o, name) for o in found)) for name in ("classifier", "arm"))
    n, lowest = len(arms), 1 / len(found[0].pairs[0].confusion)
    width, height = 0.7 + 1.6 * n, 0.65 + 2.6 * len(classifiers)
    options = {"sharex": True, "sharey": "row", "height_ratios": [2.4, 1] * len(classifiers)}
    with figure(path, 2 * len(classifiers), n, width, height, **options) as (fig, axes):
        for ax in axes.flat:
            ax.set_visible(False)
        for o in found:
            row, column = 2 * classifiers.index(o.classifier), arms.index(o.arm)
            _draw(axes[row, column], axes[row + 1, column], o, lowest)
        for i, classifier in enumerate(classifiers):
            axes[2 * i, 0].set_ylabel(f"{classifier}\naccuracy")
            axes[2 * i + 1, 0].set_ylabel("images")
        axes[0, 0].set_xlim(lowest - 0.02, 1.02)
        fig.supxlabel("confidence in the predicted class", fontsize=LABEL)


def _draw(ax: Any, below: Any, outcome: Outcome, lowest: float) -> None:
    curve = outcome.reliability
    full = curve.images > 0
    x, y = curve.confidence[full], curve.accuracy[full]
    ax.plot([lowest, 1], [lowest, 1], "--", color=GREY, lw=1, zorder=1)
    for over, colour, marker in ((True, VERMILLION, "v"), (False, BLUE, "^")):
        side = (y < x) == over
        ax.vlines(x[side], x[side], y[side], color=colour, lw=3.2, alpha=0.45, zorder=2)
        ax.plot(x[side], y[side], marker, color=colour, ms=4, mew=0, zorder=4)
    ax.plot(x, y, color=GREY, lw=0.8, zorder=3)
    ax.set_title(f"{wrapped(outcome.arm.label, 20)}\nECE {outcome.ece:.3f}", fontsize=LABEL)
    ax.set_ylim(-0.03, 1.03)
    edges = np.arange(len(full)) / len(full)
    below.bar(edges[full], curve.images[full], width=0.92 / len(full), align="edge", color=GREY, lw=0)
    below.locator_params(axis="y", nbins=3, integer=True)
    ax.set_visible(True)
    below.set_visible(True)
