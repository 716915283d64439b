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
    """Median seconds by (stage, method, classifier) over the finished rows of a store."""

    def __init__(self, rows: Iterable[ResultRow]) -> None:
        seen: dict[Kind, list[float]] = defaultdict(list)
        for row in rows:
            if row.status == "done" and "elapsed_s" in row.costs:
                seen[(row.stage, row.method, row.classifier)].append(row.costs["elapsed_s"])
        self._median = {kind: median(values) for kind, values in seen.items()}

    def seconds(self, cell: Cell) -> float | None:
        """Return the expected seconds of a cell, or None when nothing like it was measured."""
        exact = self._median.get((cell.stage, cell.method, cell.classifier))
        if exact is not None or cell.classifier is None:
            return exact
        others = [s for (stage, _, c), s in self._median.items() if (stage, c) == (cell.stage, cell.classifier)]
        return (
            median(others) if others else None
        )  # the budget is in steps, so another method's cell costs about as much

    def estimate(self, cells: Sequence[Cell]) -> Estimate:
        """Add up the cells."""
        values = [self.seconds(c) for c in cells]
        return Estimate(sum(v for v in values if v is not None), sum(v is None for v in values))


def duration(seconds: float) -> str:
    """Return seconds for people: '42 s', '3 min 20 s', '5 h 12 min'."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"
