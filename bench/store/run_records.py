"""One line per run in ``<out>/runs.jsonl``: its time, the time of its cells, and the predictions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from bench.store.lines import JsonLines

RUNS = "runs.jsonl"


@dataclass(frozen=True)
class RunRecord:
    """A finished run of a suite. Seconds are wall time; ``predicted_*`` are None if nothing had been measured before.

    ``cells_s`` is the sum over cells; ``busy_s`` is the sum by the scheduler's clock, including worker start-up and
    overhead around cells. ``wall_s`` is from the first cell's start to the last one's end; ``closing_s`` is the time of
    report and MLflow after it (None: not known yet).
    """

    suite: str
    started_at: str
    host: str
    jobs: int
    threads: int
    cells: int
    failed: int
    wall_s: float
    busy_s: float
    cells_s: float
    device_s: float
    peak_memory_bytes: float
    predicted_cells: int = 0
    predicted_wall_s: float | None = None
    predicted_device_s: float | None = None
    predicted_peak_memory_bytes: float | None = None
    closing_s: float | None = None

    @property
    def overhead(self) -> float:
        """Share of the workers' time used by the harness: neither in cells nor idle."""
        return (self.busy_s - self.cells_s) / (self.jobs * self.wall_s)

    @property
    def idle(self) -> float:
        """Share of the workers' time in which no cell was ready."""
        return 1 - self.busy_s / (self.jobs * self.wall_s)


def keep_run(out: Path, record: RunRecord) -> None:
    """Append a run; it replaces an earlier record that differs only in ``closing_s``."""
    JsonLines(out / RUNS, _decode).append([asdict(record)])


def read_runs(out: Path, suite: str) -> list[RunRecord]:
    """Return a suite's runs, oldest first; unreadable lines are skipped and reported on standard error."""
    found: dict[RunRecord, RunRecord] = {}
    for record in JsonLines(out / RUNS, _decode).read("delete them"):
        if record.suite == suite:
            found[replace(record, closing_s=None)] = record  # recorded twice: before and after the report
    return list(found.values())


def _decode(data: Mapping[str, Any]) -> RunRecord:
    known = {f.name: data[f.name] for f in fields(RunRecord) if f.name in data}
    for f in fields(RunRecord):
        kind = str if f.type == "str" else int | float
        value = known.get(f.name, f.default)
        if value is MISSING:
            raise KeyError(f.name)
        if not isinstance(value, kind) and (value is not None or f.default is MISSING):
            raise TypeError(f"with a {type(value).__name__} as {f.name!r}")
    return RunRecord(**known)
