"""Charts of the predictions of a few arms: selection of the arms, and split into figures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

from bench.analysis.info import ReportInfo
from bench.analysis.lines import Line
from bench.analysis.outcomes import Outcome, chosen_arms, outcomes
from bench.analysis.rows import Rows
from bench.report.charts import classifier_losses, confusion, curves, patients, reliability
from bench.report.charts.pages import draw_cuts, even
from bench.report.text import join

CLASSIFIERS = 2  # side by side in one figure, legible at half a page width


def draw_outcomes(lines: Sequence[Line], rows: Rows, info: ReportInfo, root: Path, out: Path) -> dict[str, str]:
    """Draw all charts of predictions and training histories; every predictions table is read once.

    ``lines`` are those with a score; they determine the arms. Returns captions by path relative to ``out``.
    """
    found = outcomes(rows, info, root, chosen_arms(lines, info.generative))
    counted = _cut(found, confusion.per_page(info))
    roc, pr = (_cut(o for o in found if o.curves(kind)) for kind in ("roc", "precision_recall"))
    draw_pr = partial(curves.draw_precision_recall, methods=info.methods)
    drawn = {
        **draw_cuts("roc", roc, curves.roc_caption(info), partial(curves.draw_roc, methods=info.methods), out),
        **draw_cuts("pr", pr, curves.precision_recall_caption(info), draw_pr, out),
        **draw_cuts("reliability", _cut(found), reliability.caption(info), reliability.draw_reliability, out),
    }
    kinds = {"confusion": False} | ({"confusion_patients": True} if info.unit.per_group else {})
    for name, per_patient in kinds.items():
        draw = partial(confusion.draw_confusion, classes=info.classes, per_patient=per_patient)
        drawn |= draw_cuts(name, counted, confusion.caption(info, per_patient), draw, out)
    strip = partial(patients.draw_patients, classes=info.classes)
    drawn |= draw_cuts("patients", _cut(found), patients.caption(found, info), strip, out)
    return drawn | _trainings(lines, rows, info, root, out)


def _cut(found: Iterable[Outcome], most: int = CLASSIFIERS) -> dict[str, list[Outcome]]:
    """Return the outcomes for each figure, by the names of its classifiers."""
    found = list(found)
    classifiers = list(dict.fromkeys(o.classifier for o in found))
    return {join(some): [o for o in found if o.classifier in some] for some in even(classifiers, most)}


def _trainings(lines: Sequence[Line], rows: Rows, info: ReportInfo, root: Path, out: Path) -> dict[str, str]:
    histories = classifier_losses.read_trainings(rows, info, root, chosen_arms(lines, info.generative))
    classifiers = list(dict.fromkeys(c for c, _ in histories))
    cuts = {
        join(some): {at: curves for at, curves in histories.items() if at[0] in some}
        for some in even(classifiers, CLASSIFIERS)
    }
    draw = partial(classifier_losses.draw_trainings, methods=info.methods)
    return draw_cuts("classifier_losses", cuts, classifier_losses.caption(info), draw, out)
