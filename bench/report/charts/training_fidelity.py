"""KID and FID of generators during training, by step: one panel for each score, one line for each method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.report.charts.losses import FIDELITY, PAIRS, Curve
from bench.report.charts.style import figure, method_looks

CAPTION = (
    "KID and FID of each generator against the training images during training (lower is closer), by step: mean over "
    f"pairs (fold × repeat), shaded: range (at most the first {PAIRS} pairs). Computed from few images and without a "
    "real-vs-real baseline: use them for the course of training only, not to compare with the final scores."
)
SCORES = ("kid", "fid")


def fidelity_curves(histories: Mapping[str, Mapping[str, Curve]]) -> dict[str, dict[str, Curve]]:
    """Return the curves of the methods that logged KID or FID, by method and score name with the extractor's tag."""
    found = {
        m: {n.removeprefix(FIDELITY): c for n, c in of.items() if n.startswith(FIDELITY)} for m, of in histories.items()
    }
    return {method: curves for method, curves in found.items() if curves}


def draw_training_fidelity(curves: Mapping[str, Mapping[str, Curve]], methods: Sequence[str], path: Path) -> None:
    """Draw one panel for each score."""
    names = sorted({n for of in curves.values() for n in of}, key=lambda n: (SCORES.index(n.split("_")[0]), n))
    marks = {m: look for m, look in method_looks(methods).items() if m in curves}
    with figure(path, 1, len(names), 0.6 + 3.4 * len(names), 3.2) as (fig, axes):
        for ax, name in zip(axes.flat, names, strict=True):
            for method, (colour, _, marker) in marks.items():
                if name in curves[method]:
                    steps, values = curves[method][name]
                    ax.plot(steps, values.mean(axis=0), color=colour, marker=marker, ms=4)
                    ax.fill_between(steps, values.min(axis=0), values.max(axis=0), color=colour, alpha=0.12, lw=0)
            score, _, tag = name.partition("_")
            ax.set_title(score.upper())
            ax.set_xlabel("training step")
            ax.set_ylabel(tag, fontsize=7)
            ax.set_ylim(bottom=min(0, ax.get_ylim()[0]))
        handles = [axes.flat[0].plot([], [], color=c, marker=k, ms=4, label=m)[0] for m, (c, _, k) in marks.items()]
        fig.legend(handles=handles, loc="outside lower center", ncols=min(4, len(handles)))
