"""The active runs of an output folder: processes that announce themselves by a heartbeat."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.store.clock import Stamp
from bench.store.heartbeat import Heartbeat, Holder, living


@dataclass(frozen=True)
class LiveRun:
    """An active run or worker: ``jobs`` parallel jobs with ``threads`` each, since ``since``, on a machine."""

    suite: str
    jobs: int
    threads: int
    device: str
    since: Stamp
    pid: int
    host: str

    @property
    def elapsed_s(self) -> float:
        """Seconds since its start."""
        return self.since.elapsed_s()


@dataclass(frozen=True)
class LiveCell:
    """A cell that a process runs now; ``key`` is stage/key."""

    key: str
    since: Stamp
    pid: int
    host: str


@contextmanager
def announced(out: Path, suite: str, jobs: int, threads: int, device: str) -> Iterator[LiveRun]:
    """Announce this process's run to other processes inside the block."""
    holder = Holder.here()
    facts = {"suite": suite, "jobs": jobs, "threads": threads, "device": device}
    with Heartbeat(out, holder, facts):
        yield LiveRun(suite, jobs, threads, device, holder.since, holder.pid, holder.host)


def live_runs(out: Path, suite: str | None = None) -> list[LiveRun]:
    """Return the active runs of a suite, or of all, oldest first."""
    return [run for run in _live(out)[0] if suite in (None, run.suite)]


def live_cells(out: Path) -> list[LiveCell]:
    """Return the cells that processes run now, oldest first."""
    return _live(out)[1]


def _live(out: Path) -> tuple[list[LiveRun], list[LiveCell]]:
    runs, cells = [], []
    for holder, facts in living(out):
        who = (holder.since, holder.pid, holder.host)
        if "suite" in facts:
            runs.append(LiveRun(facts["suite"], facts["jobs"], facts["threads"], facts["device"], *who))
        elif "cell" in facts:
            cells.append(LiveCell(facts["cell"], *who))
    return runs, cells
