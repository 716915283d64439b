"""KID and FID of what generators made while they trained, by step: a panel a score, a line a method."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bench.report.charts.losses import JUDGED, PAIRS, Curve
from bench.report.charts.style import figure, method_marks

CAPTION = (
    "KID and FID against the training images, lower is nearer, of what each generator made while it trained; by step, "
    f"mean over pairs, shaded from the lowest to the highest (the first {PAIRS} pairs at most). Of few images and "
    "without a floor: for a generator's own course, not to be compared with the scores of the finished ones."
)
SCORES = ("kid", "fid")


def judged(histories: Mapping[str, Mapping[str, Curve]]) -> dict[str, dict[str, Curve]]:
    """Return the methods that logged such scores: their curves by the score's name, the extractor's tag in it."""
    found = {
        m: {n.removeprefix(JUDGED): c for n, c in of.items() if n.startswith(JUDGED)} for m, of in histories.items()
    }
    return {method: curves for method, curves in found.items() if curves}


def draw_training_fidelity(curves: Mapping[str, Mapping[str, Curve]], path: Path) -> None:
    """Draw a panel for each score that there is."""
    names = sorted({n for of in curves.values() for n in of}, key=lambda n: (SCORES.index(n.split("_")[0]), n))
    marks = method_marks(list(curves))
    with figure(path, 1, len(names), 0.6 + 3.4 * len(names), 3.2) as (fig, axes):
        for ax, name in zip(axes.flat, names, strict=True):
            for method, (colour, marker) in marks.items():
                if name in curves[method]:
                    steps, values = curves[method][name]
                    ax.plot(steps, values.mean(axis=0), color=colour, marker=marker, ms=4)
                    ax.fill_between(steps, values.min(axis=0), values.max(axis=0), color=colour, alpha=0.12, lw=0)
            score, _, tag = name.partition("_")
            ax.set_title(score.upper())
            ax.set_xlabel("training step")
            ax.set_ylabel(tag, fontsize=7)
            ax.set_ylim(bottom=min(0, ax.get_ylim()[0]))
        handles = [axes.flat[0].plot([], [], color=c, marker=k, ms=4, label=m)[0] for m, (c, k) in marks.items()]
        fig.legend(handles=handles, loc="outside lower center", ncols=min(4, len(handles)))
