"""The tidy tables of a report: one row a score, one row a comparison. Charts and other programs read these.

``scores.parquet``: suite, dataset, stage, method, ratio, exclude_memorised, train_multiplier, selection, keep,
classifier, train_patients, fold, repeat, metric, value. ``comparisons.parquet``: everything that compares two
arms, with family, level and test; a cost ratio by its logarithm.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from bench.analysis.comparison import Comparison
from bench.analysis.info import ReportInfo
from bench.analysis.report import Records
from bench.analysis.rows import Rows
from bench.stats.decide import Verdict
from bench.suite.arms import Arm

if TYPE_CHECKING:
    import pandas as pd

ARM = ("method", "ratio", "exclude_memorised", "train_multiplier", "selection", "keep")
SCORES = (
    *("suite", "dataset", "stage", *ARM, "classifier", "train_patients"),
    *("fold", "repeat", "metric", "value"),
)
COMPARISONS = (
    *("suite", "dataset", "kind", "metric", "classifier", *ARM, "reference", "reference_ratio"),
    *("train_patients", "reference_patients", "word", "difference", "low", "high", "p", "p_adjusted", "p_equivalent"),
    *("minimum_detectable_effect", "margin", "test", "family", "level", "sets", "groups", "note", "withheld"),
)


def scores_table(rows: Rows, info: ReportInfo) -> pd.DataFrame:
    """Return every number of the finished cells, of training sets of every size, sorted by all columns."""
    import pandas as pd

    found = []
    for row in rows.every():
        if row.status == "done":
            arm = Arm.parse(row.method, row.ratio)
            at = (info.suite, info.dataset, row.stage, *(getattr(arm, f) for f in ARM), row.classifier or "")
            where = (row.train_patients, row.fold, row.repeat)
            found += [(*at, *where, metric, float(value)) for metric, value in row.metrics.items()]
    table = _typed(pd.DataFrame(found, columns=list(SCORES)))
    return table.sort_values(list(SCORES), ignore_index=True)


def comparisons_table(records: Records, info: ReportInfo) -> pd.DataFrame:
    """Return every comparison of two arms of a report."""
    import pandas as pd

    found = [{"suite": info.suite, "dataset": info.dataset, **row} for row in _comparisons(records, info)]
    return _typed(pd.DataFrame(found, columns=list(COMPARISONS)))


def _comparisons(records: Records, info: ReportInfo) -> Iterator[dict[str, Any]]:
    for x in (*records.lines, *records.multiplied):
        for c in x.comparisons:
            yield _row("score", c)
    if records.curve:
        for c in (c for c in records.curve.comparisons if c.train_patients != info.verdict_size):
            yield _row("score", c)
        for control in records.curve.controls:
            if control.name == "more patients":
                yield _row("control", control.comparison)
    size = info.verdict_size
    for m in records.matches:
        at = (info.unit.primary, m.classifier, m.arm, m.reference)
        yield _row("compute-matched", Comparison(*at, m.verdict, size, size))
    for s in records.survivals:
        at = (info.unit.primary, s.classifier, s.arm, s.arm.base)
        yield _row("without memorised samples", Comparison(*at, s.change, size, size))
    for chosen in records.selected:
        yield _row("selection", chosen.comparison)
    of_networks = [x for s in records.segmented for x in (*s.scores.values(), *s.beside.values())]
    for own in (*records.own_metrics, *of_networks):
        if own.verdict:
            at = (own.metric, own.classifier, own.arm, Arm("none"))
            yield _row(
                "segmentation" if own in of_networks else "custom metric", Comparison(*at, own.verdict, size, size)
            )
    asked = [f.difference for q in records.questions if q.name != "modalities" for f in q.findings]  # those of transfer
    for name, found in (("reference", records.differences), ("question", asked)):
        for d in found:
            yield _row(name, d.comparison)
    for ratio in (r for q in records.questions for r in q.costs):
        if ratio.comparison:
            yield _row("cost ratio", ratio.comparison)


def _row(kind: str, c: Comparison) -> dict[str, Any]:
    verdict = {f: getattr(c.verdict, f) for f in Verdict.__dataclass_fields__}
    at = {"kind": kind, "metric": c.metric, "classifier": c.classifier, "reference": c.reference.method}
    sizes = {"train_patients": c.train_patients, "reference_patients": c.reference_patients}
    arm = {f: getattr(c.arm, f) for f in ARM}
    return {**at, **arm, "reference_ratio": c.reference.ratio, **sizes, **verdict}


def _typed(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the table with nullable integers, so that a missing size is not a float."""
    whole = [c for c in ("train_patients", "reference_patients", "fold", "repeat") if c in frame]
    return frame.astype(dict.fromkeys(whole, "Int64"))
