"""Export of the leaderboard: a tidy CSV, and the JSON that ``bench report --json`` prints."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields
from itertools import chain
from typing import Any

from bench.analysis.custom_metrics import OwnScore
from bench.analysis.differences import Difference
from bench.analysis.info import ReportInfo
from bench.analysis.lines import MACRO, METRICS, Line
from bench.analysis.measured import Measured
from bench.analysis.report import Records
from bench.analysis.rows import Pair, Score
from bench.config import strict_json
from bench.report.content import Table
from bench.report.sections.summary import summary
from bench.report.text import plain
from bench.store.csv_cells import DictWriter, Writer

LINES = ("lines", "multiplied")  # fields of ``Records`` that contain lines
MEASURED, CURVE = "measured", "curve"
COLUMNS = (
    *("classifier", "method", "ratio", "metric", "reference", "pairs", "planned", "mean", "sd", "low", "high"),
    *(
        "p",
        "p_adjusted",
        "p_equivalent",
        "verdict",
        "minimum_detectable_effect",
        "test",
        "family",
        "level",
    ),
)


def tidy_csv(records: Records) -> str:
    """Return one row for each number: scores and seconds (``reference`` empty), and differences to a reference.

    Scores and differences are in [0, 1], except custom metrics, which are in their own unit. ``low`` and ``high`` are
    95 % intervals; empty means unknown. Rows on a generator have no classifier, and the stage as prefix of the metric.
    """
    text = io.StringIO()
    out = DictWriter(text, COLUMNS, lineterminator="\n")
    out.writeheader()
    compared = map(_of_difference, records.differences)
    lines, own = map(_of_line, (*records.lines, *records.multiplied)), map(_of_own, _own(records))
    for row in chain(*lines, *own, _of_generators(records), compared):
        out.writerow({k: "" if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()})
    return text.getvalue()


def table_csv(table: Table) -> str:
    """Return a table of the report as CSV, with its cells as plain text."""
    text = io.StringIO()
    out = Writer(text, lineterminator="\n")
    out.writerow(map(plain, table.heads))
    out.writerows(map(plain, row) for row in table.rows)
    return text.getvalue()


def _of_line(line: Line) -> Iterator[dict[str, Any]]:
    base = {
        "classifier": line.classifier,
        "method": line.arm.method,
        "ratio": line.arm.variant,
        "planned": line.planned,
    }
    scores = {m: line.scores[m] for m in METRICS}
    for m, of in line.of_classes.items():
        scores |= {f"{m}_{'macro' if c == MACRO else c}": s for c, s in of.items()}
    for metric, score in scores.items():
        yield {**base, "metric": metric, **_numbers(score)}
    for name in ("generator_s", "synthesis_s", "classifier_s", "device_s"):
        yield {**base, "metric": name, "pairs": line.pairs, "mean": getattr(line, name)}
    for reference, by_metric in line.versus.items():
        for metric, v in by_metric.items():
            found = {k: getattr(v, k) for k in COLUMNS if hasattr(v, k)}
            yield {**base, "metric": metric, "reference": reference, **found, "mean": v.difference, "verdict": v.word}


def _own(records: Records) -> Iterator[OwnScore]:
    yield from records.own_metrics
    yield from (score for x in records.segmented for score in (*x.scores.values(), *x.beside.values()))


def _of_own(x: OwnScore) -> Iterator[dict[str, Any]]:
    base = {"classifier": x.classifier, "method": x.arm.method, "ratio": x.arm.variant, "metric": x.metric}
    yield {**base, "planned": x.planned, **_numbers(x.score)}
    if x.word:
        found = {k: getattr(x, k) for k in ("low", "high", "p", "p_adjusted")}
        yield {**base, "reference": "none", "pairs": x.compared, "mean": x.difference, **found, "verdict": x.word}


def _of_generators(records: Records) -> Iterator[dict[str, Any]]:
    named = [(q.method, f"fidelity/{k}_{q.extractor}", s) for q in records.quality for k, s in q.scores.items()]
    named += [(t.method, f"translate/{k}", s) for t in records.translations for k, s in t.scores.items()]
    named += [(c.method, f"memorised/{k}", s) for c in records.memorised for k, s in c.scores.items()]
    for method, metric, score in named:
        yield {"method": method, "metric": metric, **_numbers(score)}


def _of_difference(d: Difference) -> dict[str, Any]:
    base = {"classifier": d.classifier, "method": d.arm.method, "ratio": d.arm.variant if d.classifier else ""}
    return {**base, **{k: getattr(d, k) for k in COLUMNS if hasattr(d, k)}, "verdict": d.word}


def _numbers(score: Score) -> dict[str, Any]:
    return {"pairs": score.n, "mean": score.mean, "sd": score.sd, "low": score.low, "high": score.high}


def as_json(records: Records, info: ReportInfo) -> dict[str, Any]:
    """Return the whole report as plain JSON values; unknown values are None."""
    described = {k: v for k, v in asdict(info).items() if k != "real_images"}
    found = {
        "summary": summary(records, info),
        "info": described,
        **{
            f.name: [asdict(x) for x in getattr(records, f.name)]
            for f in fields(records)
            if f.name not in (*LINES, MEASURED, CURVE)
        },
        **{name: [_line(x) for x in getattr(records, name)] for name in LINES},
        MEASURED: [_measured(x) for x in records.measured],
        CURVE: asdict(records.curve) if records.curve else None,
    }
    return {k: strict_json(v) for k, v in found.items()}


def _line(line: Line) -> dict[str, Any]:
    return {
        "classifier": line.classifier,
        "method": line.arm.method,
        "ratio": line.arm.variant,
        "pairs": line.pairs,
        "planned": line.planned,
        "scores": {m: asdict(s) for m, s in line.scores.items()},
        "values": {m: _by_pair(v) for m, v in line.values.items()},
        "versus": {ref: {m: asdict(v) for m, v in by.items()} for ref, by in line.versus.items()},
        "recalls": {c: asdict(s) for c, s in line.recalls.items()},
        "of_classes": {m: {c: asdict(s) for c, s in of.items()} for m, of in line.of_classes.items()},
        "gaps": [asdict(g) for g in line.gaps],
        "generator_s": line.generator_s,
        "synthesis_s": line.synthesis_s,
        "classifier_s": line.classifier_s,
        "device_s": line.device_s,
        "tuned_s": line.tuned_s,
    }


def _measured(x: Measured) -> dict[str, Any]:
    images = {m: _by_pair(v) for m, v in x.images.items()}
    at = {"stage": x.stage, "method": x.method, "ratio": x.ratio, "classifier": x.classifier}
    return {**at, "device_s": _by_pair(x.device_s), "images": images}


def _by_pair(values: Mapping[Pair, float]) -> dict[str, float]:
    """Return the values by '<fold>.<repeat>'."""
    return {f"{fold}.{repeat}": x for (fold, repeat), x in sorted(values.items())}
