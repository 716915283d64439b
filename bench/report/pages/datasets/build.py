"""The report over all sub-suites of a file: page, figures, CSV and JSON. Loads no model."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.analysis.datasets.effects import At, Effect, SubSuite, read_sub_suite
from bench.analysis.datasets.overall import Pooled, pool
from bench.analysis.datasets.shift import Shifted, shifts
from bench.config import strict_json
from bench.files import write_atomic
from bench.report.markdown import markdown
from bench.report.pages.datasets.answers import answers
from bench.report.pages.datasets.chart import draw_cross_dataset
from bench.report.pages.datasets.page import HTML_PAGE, PAGE, Figures, cross_dataset_html, cross_dataset_sections, title
from bench.report.pages.datasets.shift_chart import draw_shift
from bench.report.pages.datasets.shift_words import shift_answers
from bench.store.csv_cells import DictWriter

MORE = f"One page with all figures and sortable tables: [{HTML_PAGE}]({HTML_PAGE})."
FIGURE, SHIFT_FIGURE = "charts/cross.png", "charts/shift.png"
COLUMNS = (
    *("measure", "arm", "reference", "classifier", "sub_suite", "dataset", "modality", "pairs", "difference", "low"),
    *("high", "verdict", "p", "p_adjusted", "next_low", "next_high", "tau", "i2", "p_alike", "carries"),
    *("control", "in_distribution", "out_of_distribution", "p_equivalent"),
)


def build_cross_dataset(
    name: str, reports: Mapping[str, Path], absent: Mapping[str, str], command: str, out: Path
) -> Path:  # fmt: skip
    """Write ``cross.md``, ``.html``, ``.csv``, ``.json`` and ``charts/`` into ``out``; return ``cross.md``.

    ``reports`` are the report folders of the sub-suites, ``absent`` the reasons why others have none, both by suite.
    The same reports give the same bytes. Raises ``DataError`` for a report that cannot be read.
    """
    sub_suites = [read_sub_suite(suite.removeprefix(f"{name}-"), folder) for suite, folder in reports.items()]
    pooled = pool(sub_suites)
    lacking = {suite.removeprefix(f"{name}-"): reason for suite, reason in absent.items()}
    compared, unpaired = shifts(sub_suites)
    figures = Figures(
        forest=FIGURE if draw_cross_dataset(sub_suites, pooled, out / FIGURE) else None,
        shift=SHIFT_FIGURE if draw_shift(compared, out / SHIFT_FIGURE) else None,
    )
    rows = [*_rows(sub_suites, pooled), *_shift_rows(sub_suites, compared)]
    write_atomic(out / "cross.csv", _csv(rows))
    found = {
        "suite": name,
        "answers": {**shift_answers(compared), **answers(sub_suites, pooled)},
        "sub_suites": [_described(m) for m in sub_suites],
        "absent": lacking,
        "shifts": [{k: v for k, v in vars(s).items() if k != "compared"} for s in compared],
        "unpaired": unpaired,
        "rows": rows,
        "command": command,
    }
    write_atomic(out / "cross.json", json.dumps(strict_json(found), indent=1, ensure_ascii=False) + "\n")
    sections = cross_dataset_sections(sub_suites, pooled, lacking, command, figures, (compared, unpaired))
    about = title(name, sub_suites, compared)
    write_atomic(out / HTML_PAGE, cross_dataset_html(about, sections, out))
    write_atomic(out / PAGE, markdown(about, sections, MORE, rows=10**6))
    return out / PAGE


def _described(m: SubSuite) -> dict[str, Any]:
    said = {k: v for k, v in vars(m).items() if k not in ("effects", "scores", "values", "folds", "config")}
    return {**said, "scores": [{"classifier": c, "arm": a, "mean": mean} for (c, a), mean in m.scores.items()]}


def _rows(sub_suites: Sequence[SubSuite], pooled: Sequence[Pooled]) -> list[dict[str, Any]]:
    """Return a row for each effect of a sub-suite, and after those of an arm an overall row without ``sub_suite``."""
    of = {m.name: m for m in sub_suites}
    rows: list[dict[str, Any]] = []
    for p in pooled:
        for name, effect in p.effects:
            where = {"sub_suite": name, "dataset": of[name].dataset, "modality": of[name].modality}
            rows.append({**_at(p.at), **where, **_numbers(effect)})
        t = asdict(p.found)
        ends = {k: t[k] for k in ("low", "high", "p", "next_low", "next_high", "tau", "i2", "p_alike")}
        verdict = {"p_adjusted": p.p_adjusted, "verdict": p.word, "carries": p.carries, "pairs": None}
        rows.append({**_at(p.at), "dataset": f"{p.found.studies} together", "difference": t["mean"], **ends, **verdict})
    return rows


def _shift_rows(sub_suites: Sequence[SubSuite], compared: Sequence[Shifted]) -> Iterator[dict[str, Any]]:
    """Yield a row for each performance drop and each change of a gain or from-scratch effect.

    Measures: 'shift_performance_drop', 'shift_gain', 'shift_from_scratch'.
    """
    of = {m.name: m for m in sub_suites}
    for s in compared:
        where = {"sub_suite": s.sub_suite, "control": s.control}
        where |= {"dataset": of[s.sub_suite].dataset, "modality": of[s.sub_suite].modality}
        for x in s.compared:
            at = {
                "measure": f"shift_{x.kind}",
                "arm": x.arm.label,
                "reference": x.reference,
                "classifier": x.classifier,
            }
            names = ("difference", "low", "high", "p", "p_adjusted", "p_equivalent")
            found = {name: getattr(x.found, name) for name in names} | {"pairs": x.found.sets}
            yield {
                **at,
                **where,
                **found,
                "verdict": x.word,
                "in_distribution": x.in_distribution,
                "out_of_distribution": x.out_of_distribution,
            }


def _at(at: At) -> dict[str, Any]:
    return asdict(at)


def _numbers(e: Effect) -> dict[str, Any]:
    return {"difference": e.difference, "low": e.low, "high": e.high, "verdict": e.word, "pairs": e.pairs}


def _csv(rows: Sequence[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    out = DictWriter(text, COLUMNS, lineterminator="\n")
    out.writeheader()
    for row in rows:
        out.writerow({k: "" if v is None or v != v else v for k, v in row.items()})
    return text.getvalue()
