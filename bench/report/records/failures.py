"""What failed, was skipped or is missing, causes before what they stopped. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from bench.plan import STAGES
from bench.ratios import ratio_label
from bench.report.info import ReportInfo
from bench.report.records.rows import Pair, Rows, one_line
from bench.types import ResultRow

ORDER = {"failed": 0, "skipped": 1}


@dataclass(frozen=True)
class Failure:
    """Cells of one stage that ended alike, and why. ``where`` names classifier and ratio, for stages that have them."""

    status: str
    stage: str
    reason: str
    cells: int
    methods: tuple[str, ...]
    where: tuple[str, ...]
    pairs: tuple[Pair, ...]


def failures(rows: Rows, info: ReportInfo) -> tuple[Failure, ...]:
    """Return what failed, was skipped or is missing; causes before what they stopped.

    One record for each stage, method and reason; cells that nobody has started are one record a stage.
    """
    groups: dict[tuple[str, str, str, str], list[ResultRow]] = {}
    for stage in STAGES:
        for r in rows.all(stage):
            if r.status != "done":
                reason = one_line(r.error) if r.error else "not run yet"
                method = (r.method or "") if r.status in ORDER else ""
                groups.setdefault((r.status, r.stage, method, reason), []).append(r)
    found = []
    for (status, stage, _, reason), cells in groups.items():
        methods = tuple(m for m in info.methods if any(r.method == m for r in cells))
        where = dict.fromkeys(f"{r.classifier} {ratio_label(r.ratio)}".strip() for r in cells if r.classifier)
        pairs = {(r.fold or 0, r.repeat or 0) for r in cells}
        found.append(Failure(status, stage, reason, len(cells), methods, tuple(where), tuple(sorted(pairs))))
    return tuple(sorted(found, key=lambda f: ORDER.get(f.status, len(ORDER))))
