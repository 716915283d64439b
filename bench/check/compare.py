"""Compare new rows with those of a baseline: moved, missing, added."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Literal

from bench.check.baseline import Baseline
from bench.check.rows import KINDS, Kind, Row, Value
from bench.check.tolerance import moved, tolerance_here

State = Literal["same", "moved", "missing", "better", "added"]
FAILING: tuple[State, ...] = ("moved", "missing")
DONE = "done"


@dataclass(frozen=True)
class Finding:
    """The result of one row. ``better``: a cost below its tolerance; no regression, but the baseline is outdated."""

    kind: Kind
    cell: str
    quantity: str
    baseline: Value | None
    now: Value | None
    tolerance: float
    state: State

    @property
    def fails(self) -> bool:
        """Whether it is a regression."""
        return self.state in FAILING

    @property
    def text(self) -> str:
        """One line: 'loss_G at step 5: 11.92 -> 12.41, moved by 0.49 (tolerance 0.06)'."""
        if self.state == "missing":
            return f"{self.quantity}: {shown(self.baseline)} -> missing"
        if self.state == "added":
            return f"{self.quantity}: not in the baseline, now {shown(self.now)}"
        by = f", moved by {self.by}" if self.by else ""
        allowed = f" (tolerance {shown(self.tolerance)})" if self.by else ""
        return f"{self.quantity}: {shown(self.baseline)} -> {shown(self.now)}{by}{allowed}"

    @property
    def by(self) -> str:
        """The signed change; '' for texts."""
        if not isinstance(self.baseline, float) or not isinstance(self.now, float):
            return ""
        return f"{shown(self.now - self.baseline, signed=True)}"


@dataclass(frozen=True)
class Comparison:
    """All findings, in the order of the run."""

    findings: tuple[Finding, ...]

    @property
    def regressions(self) -> list[Finding]:
        """The findings that make the check fail; for an unfinished cell only the cell itself, not its rows."""
        unfinished = {f.cell for f in self.findings if f.kind == "cell" and f.fails}
        return [f for f in self.findings if f.fails and (f.kind == "cell" or f.cell not in unfinished)]

    def counts(self) -> dict[Kind, Counter[State]]:
        """Return the number of rows of each kind by state."""
        found: dict[Kind, Counter[State]] = {kind: Counter() for kind in KINDS}
        for f in self.findings:
            found[f.kind][f.state] += 1
        return {kind: states for kind, states in found.items() if states}

    @property
    def failed(self) -> bool:
        """Whether anything is a regression."""
        return any(f.fails for f in self.findings)

    def of(self, *states: State) -> list[Finding]:
        """Return the findings in these states."""
        return [f for f in self.findings if f.state in states]

    def verdict(self) -> str:
        """Return the outcome in a sentence."""
        n = len(self.findings)
        if not self.failed:
            return f"no regression: all {n} rows are within their tolerances"
        lost = Counter(f.state for f in self.findings)
        parts = [f"{lost[s]} {s}" for s in FAILING if lost[s]]
        return f"regression: of {n} rows {' and '.join(parts)}"


def compare(baseline: Baseline, rows: Sequence[Row], exact: bool = False) -> Comparison:
    """Compare new rows with those of a baseline.

    ``exact``: the numerics are those of the baseline, so all rows except costs must be equal in all stored digits, and
    costs must be within ``TIME_SAME`` and ``WORK_SAME``. If not ``exact``, each row may move by its tolerance.
    """
    now = {r.key: r for r in rows}
    findings = [_compared(r, baseline, exact) for r in rows]
    for key, expected in baseline.rows.items():
        if key not in now:
            r = expected.row
            findings.append(Finding(r.kind, r.cell, r.quantity, r.value, None, expected.tolerance, "missing"))
    return Comparison(tuple(sorted(findings, key=lambda f: KINDS.index(f.kind))))


def _compared(row: Row, baseline: Baseline, exact: bool) -> Finding:
    expected = baseline.rows.get(row.key)
    if expected is None:
        dead = row.kind == "leak" and row.value not in (0.0, "refused")
        state: State = "moved" if dead or (row.kind == "cell" and row.value != DONE) else "added"
        return Finding(row.kind, row.cell, row.quantity, None, row.value, 0.0, state)
    then = expected.row.value
    tolerance = tolerance_here(expected.row, expected.tolerance) if exact else expected.tolerance
    state = _state(row.kind, then, row.value, tolerance)
    return Finding(row.kind, row.cell, row.quantity, then, row.value, tolerance, state)


def _state(kind: Kind, then: Value, now: Value, tolerance: float) -> State:
    if isinstance(then, str) or isinstance(now, str):
        return "same" if then == now else "moved"
    if moved(then, now) <= tolerance * (1 + 1e-9) + 1e-6 * abs(then if math.isfinite(then) else 0.0):
        return "same"
    return "better" if kind == "cost" and now < then else "moved"


def lower_terciles(rows: Iterable[Row], again: Sequence[Iterable[Row]]) -> list[Row]:
    """Return rows with the lower tercile of their value and the repeated measurements in ``again``, if any.

    Other processes make steps slower, not faster, so low values are nearer to the truth than the median.
    """
    measured: dict[tuple[str, str, str], list[float]] = {}
    for row in chain.from_iterable(again):
        if isinstance(row.value, float):
            measured.setdefault(row.key, []).append(row.value)
    return [
        replace(r, value=sorted([r.value, *measured[r.key]])[len(measured[r.key]) // 3])
        if r.key in measured and isinstance(r.value, float)
        else r
        for r in rows
    ]


def shown(value: Value | None, signed: bool = False) -> str:
    """Return a value as text with five significant digits."""
    if value is None or isinstance(value, str):
        return value or "–"
    sign = "+" if signed else ""
    if value == int(value) if math.isfinite(value) else False:
        return f"{int(value):{sign},}"
    return f"{value:{sign}.5g}"
