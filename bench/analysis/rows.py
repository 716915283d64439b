"""Rows of one plan by coordinates, and summaries over pairs (fold × repeat): the base of all records."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from bench.stats.inference import mean_sd
from bench.suite.arms import Arm
from bench.types import ResultRow

NAN = float("nan")
Pair = tuple[int, int]  # (fold, repeat)
Coordinates = tuple[str, str | None, str | None, str | None, int | None, int | None]


@dataclass(frozen=True)
class Score:
    """Summary over pairs: mean, sd (ddof 1), count; and a 95 % interval over patients (NaN if not computed)."""

    mean: float
    sd: float
    n: int
    low: float = NAN
    high: float = NAN

    @classmethod
    def of(cls, values: Iterable[float]) -> Score:
        """Summarise the finite ``values``."""
        finite = [v for v in values if math.isfinite(v)]
        return cls(*mean_sd(finite), len(finite))


def scores_of(rows: Iterable[Mapping[str, float]]) -> dict[str, Score]:
    """Summarise values by name over rows, in the order of first appearance."""
    values: dict[str, list[float]] = {}
    for row in rows:
        for name, value in row.items():
            values.setdefault(name, []).append(value)
    return {name: Score.of(found) for name, found in values.items()}


class Rows:
    """Rows of one plan by coordinates; of a learning curve, those of the training sets of ``train_patients``."""

    def __init__(self, rows: Iterable[ResultRow], train_patients: int | None = None) -> None:
        self._at: dict[Coordinates, ResultRow] = {}
        self._all = list(rows)
        for r in self._all:
            if r.train_patients == train_patients:
                self._at[(r.stage, r.method, r.ratio, r.classifier, r.fold, r.repeat)] = r

    @cached_property
    def _last(self) -> dict[tuple[object, ...], ResultRow]:
        """The last row of each coordinates, of every size."""
        return {(r.stage, r.method, r.ratio, r.classifier, r.fold, r.repeat, r.train_patients): r for r in self._all}

    def at_size(self, train_patients: int | None) -> Rows:
        """Return the rows of one size of training sets; with None, itself."""
        return self if train_patients is None else Rows(self._all, train_patients)

    def every(self) -> list[ResultRow]:
        """Return all rows, of training sets of every size."""
        return list(self._all)

    def all(self, stage: str) -> list[ResultRow]:
        """Return the rows of a stage, of training sets of every size, sorted by their coordinates."""
        found = [r for r in self._last.values() if r.stage == stage]
        return sorted(
            found,
            key=lambda r: (
                str(r.method),
                str(r.ratio),
                str(r.classifier),
                r.fold or 0,
                r.repeat or 0,
                r.train_patients or 0,
            ),
        )

    def at(self, stage: str, pair: Pair) -> ResultRow | None:
        """Return the row of a stage with one cell for each pair: split, segment."""
        return self._at.get((stage, None, None, None, *pair))

    def generator(self, stage: str, arm: Arm, pair: Pair) -> ResultRow | None:
        """Return the row of an arm's generator in one of its stages, or of its selected images."""
        variant = arm.variant if arm.is_selected and stage in ("select", "memorised") else None
        return self._at.get((stage, arm.method, variant, None, *pair))

    def done(self, stage: str, method: str, pairs: Sequence[Pair]) -> list[ResultRow]:
        """Return the finished rows of a method's generators in one stage."""
        found = [self.generator(stage, Arm(method), pair) for pair in pairs]
        return [r for r in found if r and r.status == "done"]

    def classifier(self, stage: str, arm: Arm, classifier: str, pair: Pair) -> ResultRow | None:
        """Return the classify or evaluate row of an arm."""
        return self._at.get((stage, arm.method, arm.variant, classifier, *pair))


def one_line(error: str) -> str:
    """Return the message of an error in one line: the first line, or the last of a traceback."""
    lines = [line.strip() for line in error.strip().splitlines() if line.strip()] or ["no message"]
    return lines[-1] if lines[0].startswith("Traceback") else lines[0]
