"""Training curves of the classifiers: training loss and validation score by step, one column each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.analysis.info import ReportInfo
from bench.analysis.outcomes import rule
from bench.analysis.rows import Rows
from bench.report.charts.losses import PAIRS, Curve, read_curves
from bench.report.charts.style import arm_looks, figure, legend_columns, plain_log
from bench.store.history import HISTORY
from bench.suite.arms import Arm

LOSS, SCORE = "train/loss", "validation/balanced_accuracy"
Histories = Mapping[tuple[str, Arm], Mapping[str, Curve]]


def caption(info: ReportInfo) -> str:
    """Return the caption."""
    return (
        "Training of the classifiers by optimiser step: cross entropy on the training images, with the class weights, "
        "mixing and label smoothing of each arm, and balanced accuracy on the validation images (the best step is kept "
        f"and tested once). Mean over pairs (fold × repeat), shaded: range (at most the first {PAIRS} pairs). "
        f"{rule(info)}"
    )


def read_trainings(rows: Rows, info: ReportInfo, root: Path, arms: Sequence[Arm]) -> Histories:
    """Return the curves ``LOSS`` and ``SCORE`` by classifier and arm, at the steps logged in all pairs."""
    found = {}
    for classifier in info.classifiers:
        for arm in arms:
            cells = [rows.classifier("classify", arm, classifier, pair) for pair in info.pairs]
            folders = [root / r.folder for r in cells if r and r.status == "done" and r.folder]
            curves = read_curves([f / HISTORY for f in folders[:PAIRS]])
            if LOSS in curves and SCORE in curves:
                found[classifier, arm] = curves
    return found


def draw_trainings(histories: Histories, path: Path) -> None:
    """Draw the loss above the score of each classifier."""
    classifiers = list(dict.fromkeys(c for c, _ in histories))
    looks = arm_looks(list(dict.fromkeys(a for _, a in histories)))
    width = 0.8 + 2.7 * len(classifiers)
    with figure(path, 2, len(classifiers), width, 4.4, sharey="row", sharex="col") as (fig, axes):
        for (classifier, arm), curves in histories.items():
            column, look = classifiers.index(classifier), looks[arm]
            for ax, (steps, values), scale in zip(
                axes[:, column], (curves[LOSS], curves[SCORE]), (1, 100), strict=True
            ):
                shown = scale * values
                ax.plot(steps, shown.mean(axis=0), color=look.colour, ls=look.dashes, zorder=3)
                ax.fill_between(steps, shown.min(axis=0), shown.max(axis=0), color=look.colour, alpha=0.12, lw=0)
        for column, classifier in enumerate(classifiers):
            axes[0, column].set_title(classifier)
            axes[1, column].set_xlabel("optimiser step")
        if all((curves[LOSS][1] > 0).all() for curves in histories.values()):
            axes[0, 0].set_yscale("log")
            plain_log(axes[0, 0].yaxis)
        axes[0, 0].set_ylabel("training loss (nats)")
        axes[1, 0].set_ylabel("validation balanced\naccuracy (%)")
        handles = [axes[0, 0].plot([], [], color=k.colour, ls=k.dashes, label=a.label)[0] for a, k in looks.items()]
        columns = legend_columns([a.label for a in looks], width)
        fig.legend(handles=handles, loc="outside lower center", ncols=columns, handlelength=3.4)
