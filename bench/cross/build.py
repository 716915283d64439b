"""The report over the members of a file: a page, a figure, the same numbers as CSV and JSON. Touches no model."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.cross.answers import answers
from bench.cross.chart import draw_cross
from bench.cross.effects import At, Effect, Member, read_member
from bench.cross.page import HTML_PAGE, PAGE, cross_html, cross_markdown, cross_sections
from bench.cross.together import Pooled, pool
from bench.files import write_atomic
from bench.report.export import plain

FIGURE = "charts/cross.png"
COLUMNS = (
    *("measure", "arm", "reference", "classifier", "member", "dataset", "modality", "pairs", "difference", "low"),
    *("high", "verdict", "p", "p_holm", "next_low", "next_high", "tau", "i2", "p_alike", "carries"),
)


def build_cross(
    name: str, reports: Mapping[str, Path], absent: Mapping[str, str], command: str, out: Path
) -> Path:  # fmt: skip
    """Write ``cross.md``, ``.html``, ``.csv``, ``.json`` and ``charts/cross.png`` into ``out``; return ``cross.md``.

    ``reports`` are the report folders of the members' suites, ``absent`` why others have none, both by suite. The same
    reports give the same bytes. Raises ``DataError`` for a report that cannot be read.
    """
    members = [read_member(suite.removeprefix(f"{name}-"), folder) for suite, folder in reports.items()]
    pooled = pool(members)
    lacking = {suite.removeprefix(f"{name}-"): reason for suite, reason in absent.items()}
    figure = FIGURE if draw_cross(members, pooled, out / FIGURE) else None
    rows = _rows(members, pooled)
    write_atomic(out / "cross.csv", _csv(rows))
    found = {
        "suite": name,
        "answers": answers(members, pooled),
        "members": [_described(m) for m in members],
        "absent": lacking,
        "rows": rows,
        "command": command,
    }
    write_atomic(out / "cross.json", json.dumps(plain(found), indent=1, ensure_ascii=False) + "\n")
    sections = cross_sections(members, pooled, lacking, command, figure)
    write_atomic(out / HTML_PAGE, cross_html(name, members, sections, out))
    write_atomic(out / PAGE, cross_markdown(name, members, sections))
    return out / PAGE


def _described(m: Member) -> dict[str, Any]:
    said = {k: v for k, v in vars(m).items() if k not in ("effects", "scores")}
    return {**said, "scores": [{"classifier": c, "arm": a, "mean": mean} for (c, a), mean in m.scores.items()]}


def _rows(members: Sequence[Member], pooled: Sequence[Pooled]) -> list[dict[str, Any]]:
    """Return a row for each effect of a member, and after those of an arm one of all together (``member`` empty)."""
    of = {m.name: m for m in members}
    rows: list[dict[str, Any]] = []
    for p in pooled:
        for name, effect in p.effects:
            where = {"member": name, "dataset": of[name].dataset, "modality": of[name].modality}
            rows.append({**_at(p.at), **where, **_numbers(effect)})
        t = asdict(p.found)
        ends = {k: t[k] for k in ("low", "high", "p", "next_low", "next_high", "tau", "i2", "p_alike")}
        judged = {"p_holm": p.p_holm, "verdict": p.word, "carries": p.carries, "pairs": None}
        rows.append({**_at(p.at), "dataset": f"{p.found.studies} together", "difference": t["mean"], **ends, **judged})
    return rows


def _at(at: At) -> dict[str, Any]:
    return asdict(at)


def _numbers(e: Effect) -> dict[str, Any]:
    return {"difference": e.difference, "low": e.low, "high": e.high, "verdict": e.word, "pairs": e.pairs}


def _csv(rows: Sequence[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    out = csv.DictWriter(text, COLUMNS, restval="", lineterminator="\n")
    out.writeheader()
    for row in rows:
        out.writerow({k: "" if v is None or v != v else v for k, v in row.items()})
    return text.getvalue()
