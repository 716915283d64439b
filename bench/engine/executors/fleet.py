"""Runs the cells by `bench worker` processes elsewhere: of a batch system or on a cluster's nodes.

They share the output folder, which says what they have done, so nothing else is sent between the machines.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from bench.errors import BenchError
from bench.plan.plan import Cell

TEND_S = 5.0  # interval of looks at the workers
MAX_IDLE_STARTS = 5  # so many starts of workers in a row after which no cell was done are an error


class Fleet(Protocol):
    """Starts workers somewhere. Each file of this package with the name of an executor has one."""

    where: str  # names the workers in messages: 'Slurm jobs'

    def start(self, number: int) -> None:
        """Start workers. Raises ``BenchError`` if that is impossible."""
        ...

    def alive(self) -> int:
        """Return the number of workers that wait for a machine or run."""
        ...

    def stop(self) -> None:
        """End all workers; interrupted cells resume from their checkpoints."""
        ...

    def logs(self) -> str:
        """Return where the output of the workers is."""
        ...


@dataclass(frozen=True)
class WorkerCommand:
    """The command of a worker: one cell at a time, for one run of an output folder."""

    out: Path
    name: str
    device: str
    threads: int

    @property
    def words(self) -> tuple[str, ...]:
        """The command line."""
        options = ("--out", str(self.out), "--name", self.name, "--device", self.device, "--threads", str(self.threads))
        return (sys.executable, "-m", "bench.cli", "worker", *options, "--jobs", "1")


class FleetExecutor:
    """Keeps ``workers`` workers alive while there are cells for them; it runs none itself."""

    slots = 0

    def __init__(self, fleet: Fleet, workers: int) -> None:
        self._fleet, self._workers = fleet, workers
        self._next_s = 0.0  # time of the next look
        self._before: frozenset[tuple[str, str]] = frozenset()  # cells at the last start
        self._idle_starts = 0

    def submit(self, fn: Callable[..., Any], *args: Any) -> Future[Any]:
        """Not used: there are no slots."""
        raise NotImplementedError("cells are run by workers elsewhere")

    def tend(self, cells: Sequence[Cell]) -> None:
        """Replace workers that have ended. Raises ``BenchError`` if new ones end again and again without a result."""
        now = time.monotonic()
        if now < self._next_s:
            return
        self._next_s = now + TEND_S
        missing = min(self._workers, len(cells)) - self._fleet.alive()
        if missing <= 0:
            return
        ids = frozenset(cell.id for cell in cells)
        self._idle_starts = self._idle_starts + 1 if ids == self._before else 0
        if self._idle_starts >= MAX_IDLE_STARTS:
            raise BenchError(
                f"{self._fleet.where} ended {MAX_IDLE_STARTS} times without finishing a cell; see {self._fleet.logs()}"
            )
        self._before = ids
        self._fleet.start(missing)

    def close(self) -> None:
        """End the workers that are left."""
        self._fleet.stop()

    def kill(self) -> None:
        """End the workers."""
        self._fleet.stop()
