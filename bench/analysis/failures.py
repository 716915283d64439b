"""Failed, skipped and missing cells, causes first, and the stages of generators that lack pairs. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from bench.analysis.info import ReportInfo
from bench.analysis.rows import Pair, Rows, one_line
from bench.plan.plan import STAGES
from bench.suite.arms import Arm
from bench.types import ResultRow

ORDER = {"failed": 0, "skipped": 1}


@dataclass(frozen=True)
class Failure:
    """Cells of one stage with the same status and reason. ``where`` names classifier and ratio, if the stage has
    them."""

    status: str
    stage: str
    reason: str
    cells: int
    methods: tuple[str, ...]
    where: tuple[str, ...]
    pairs: tuple[Pair, ...]


def failures(rows: Rows, info: ReportInfo) -> tuple[Failure, ...]:
    """Return failed, skipped and missing cells; causes before their consequences.

    One record for each stage, method and reason; cells not started are one record for each stage.
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
        where = dict.fromkeys(
            f"{r.classifier or ''} {Arm.parse(r.method, r.ratio).variant_label}".strip()
            for r in cells
            if r.classifier or r.ratio
        )
        pairs = {(r.fold or 0, r.repeat or 0) for r in cells}
        found.append(Failure(status, stage, reason, len(cells), methods, tuple(where), tuple(sorted(pairs))))
    return tuple(sorted(found, key=lambda f: ORDER.get(f.status, len(ORDER))))


@dataclass(frozen=True)
class Shortfall:
    """A stage of one method's generators that lacks pairs; ``method`` is '' for stages shared by all methods.

    ``planned`` is the number of planned pairs, ``pairs`` are the missing ones.
    """

    stage: str
    method: str
    planned: int
    pairs: tuple[Pair, ...]


def shortfalls(rows: Rows, info: ReportInfo) -> tuple[Shortfall, ...]:
    """Return the planned stages before the classifiers that are not done in every pair.

    ``info`` is of one size of training sets in a learning curve (``ReportInfo.at_size``).
    """
    planned: dict[tuple[str, str], set[Pair]] = {}
    for stage in STAGES[: STAGES.index("classify")]:
        for r in rows.all(stage):
            if r.status != "done" and r.train_patients == info.size:
                planned.setdefault((stage, r.method or ""), set()).add((r.fold or 0, r.repeat or 0))
    inside = {at: tuple(p for p in info.pairs if p in pairs) for at, pairs in planned.items()}
    return tuple(Shortfall(*at, len(info.pairs), pairs) for at, pairs in inside.items() if pairs)
