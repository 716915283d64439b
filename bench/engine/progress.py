"""Progress of running cells, read from the files that they write, and the expected time left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from bench.forecast.cost_model import CostModel, Prediction, duration, schedule
from bench.plan.plan import Cell
from bench.store.cell_folders import Artifacts
from bench.store.clock import Stamp
from bench.store.heartbeat import host_name

TRUST_STEPS = 0.1  # after this share of its steps, a cell's own speed predicts better than similar cells
LOSSES = 3  # number of losses that are shown


@dataclass(frozen=True)
class Work:
    """A running cell; None where a value is unknown or not reported yet.

    ``elapsed_s`` is wall time, including interrupted attempts that it continues. ``peak_memory_bytes`` is the peak so
    far: of tensors on a CUDA device, of the whole process on a CPU.
    """

    cell: Cell
    elapsed_s: float | None = None
    step: int | None = None
    total: int | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    peak_memory_bytes: int | None = None
    device: str | None = None
    left_s: float | None = None
    host: str | None = None  # machine that runs it, and the number of its process there
    pid: int | None = None

    def columns(self) -> tuple[str, str, str, str, str, str]:
        """Return texts for the terminal: step, elapsed, left, memory, another machine than this one, losses."""
        return (
            f"step {self.step}/{self.total}" if self.step is not None else "",
            duration(self.elapsed_s) if self.elapsed_s is not None else "starting",
            f"{duration(self.left_s)} left" if self.left_s is not None else "",
            f"{self.peak_memory_bytes / 2**30:.1f} GiB" if self.peak_memory_bytes else "",
            f"on {self.host}, process {self.pid}" if self.host and self.host != host_name() else "",
            ", ".join(f"{name} {value:.3g}" for name, value in list(self.metrics.items())[:LOSSES]),
        )


def work_of(cell: Cell, artifacts: Artifacts, costs: CostModel) -> Work:
    """Read the progress file of a running cell and predict its time left, by its own speed or from similar cells."""
    state = artifacts.progress(*cell.id) or {}
    try:
        reported_s, since_s = float(state["elapsed_s"]), Stamp(**state["updated"]).elapsed_s()
    except (KeyError, TypeError, ValueError):  # nothing reported yet, or written by an earlier version
        return Work(cell)
    elapsed_s = reported_s + since_s
    step, total = state.get("step"), state.get("total")
    work = Work(
        cell, elapsed_s, step, total, state.get("metrics", {}), state.get("peak_memory_bytes"), state.get("device")
    )
    if step and total and step >= TRUST_STEPS * total:
        return replace(work, left_s=max(0.0, reported_s * total / step - elapsed_s))
    expected = costs.predict(cell)
    return replace(work, left_s=max(0.0, expected.elapsed_s - elapsed_s)) if expected else work


@dataclass(frozen=True)
class WallLeft:
    """Expected wall time in seconds until all cells are done, without the ``unknown`` cells, whose cost is unknown."""

    seconds: float
    unknown: int

    def __str__(self) -> str:
        return f"{'>' if self.unknown else '~'}{duration(self.seconds)}"


def wall_left(left: Sequence[Cell], works: Sequence[Work], costs: CostModel, jobs: int) -> WallLeft:
    """Simulate the rest of a run: running cells continue, the others start on ``jobs`` parallel jobs when ready.

    ``left`` contains all unfinished cells, including those of ``works``.
    """
    expected = {c.id: p for c in left if (p := costs.predict(c))}
    for work in works:
        if work.left_s is not None:
            was = expected.get(work.cell.id) or Prediction(0.0, 0.0, 0.0, "guessed")
            expected[work.cell.id] = replace(was, elapsed_s=work.left_s)
    now = {w.cell.id for w in works}
    order = [w.cell for w in works] + [c for c in left if c.id not in now]
    return WallLeft(schedule(order, expected, max(jobs, len(works), 1)).wall_s, sum(c.id not in expected for c in left))
