"""One line a run in ``<out>/runs.jsonl``: how long it took, what of it its cells were, and what was expected."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from bench.store.lines import JsonLines

RUNS = "runs.jsonl"


@dataclass(frozen=True)
class RunRecord:
    """A finished run of a suite. Seconds are wall seconds; ``predicted_*`` are None where nothing was measured before.

    ``cells_s`` is what the cells took, added up; ``busy_s`` the same by the scheduler's clock, with a worker's start
    and all that surrounds a cell. ``wall_s`` is from the first cell's start to the last one's end, ``closing_s`` what
    report and MLflow took after it (None: not yet known).
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
        """The harness's own share of the workers' time: not spent in cells, and not waiting for one to end."""
        return (self.busy_s - self.cells_s) / (self.jobs * self.wall_s)

    @property
    def idle(self) -> float:
        """The share of the workers' time in which no cell was ready for them."""
        return 1 - self.busy_s / (self.jobs * self.wall_s)


def keep_run(out: Path, record: RunRecord) -> None:
    """Add a run; one that is the same but for ``closing_s`` replaces what was said of it before."""
    JsonLines(out / RUNS, _decode).append([asdict(record)])


def read_runs(out: Path, suite: str) -> list[RunRecord]:
    """Return a suite's runs, oldest first; lines that cannot be read are left out, and named on standard error."""
    found: dict[RunRecord, RunRecord] = {}
    for record in JsonLines(out / RUNS, _decode).read("delete them"):
        if record.suite == suite:
            found[replace(record, closing_s=None)] = record  # said twice: before its report, and after
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
