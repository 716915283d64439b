"""What a plan will cost, from what finished cells of the same kind took here."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from bench.plan import Cell
from bench.types import ResultRow

Kind = tuple[str, str | None, str | None]


@dataclass(frozen=True)
class Estimate:
    """``known_s``: core-seconds of the cells whose kind was measured; ``unknown``: how many cells were not."""

    known_s: float
    unknown: int


class CostTable:
    """Median seconds by (stage, method, classifier) over finished rows."""

    def __init__(self, rows: Iterable[ResultRow] = ()) -> None:
        self._seen: dict[Kind, list[float]] = defaultdict(list)
        for row in rows:
            self.add(row)

    def add(self, row: ResultRow) -> None:
        """Learn from one more row, if it is a finished one."""
        if row.status == "done" and "elapsed_s" in row.costs:
            self._seen[(row.stage, row.method, row.classifier)].append(row.costs["elapsed_s"])

    def seconds(self, cell: Cell, rough: bool = False) -> float | None:
        """Return the expected seconds of a cell, or None when nothing like it was measured.

        Like it is the same method and classifier; or another method with the same classifier, since the budget is in
        steps; or, if ``rough``, any cell of the stage.
        """
        if exact := self._seen.get((cell.stage, cell.method, cell.classifier)):
            return median(exact)
        same = [values for (stage, _, c), values in self._seen.items() if (stage, c) == (cell.stage, cell.classifier)]
        if same and (cell.classifier is not None or rough):
            return median([median(values) for values in same])
        return None

    def estimate(self, cells: Sequence[Cell], rough: bool = False) -> Estimate:
        """Add up the cells."""
        values = [self.seconds(c, rough) for c in cells]
        return Estimate(sum(v for v in values if v is not None), sum(v is None for v in values))


def duration(seconds: float) -> str:
    """Return seconds for people: '42 s', '3 min 20 s', '5 h 12 min'."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"
