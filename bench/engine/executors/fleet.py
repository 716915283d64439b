"""Runs the cells by `bench worker` processes elsewhere: of a batch system or on a cluster's nodes.

They share the output folder, which says what they have done, so nothing else is sent between the machines.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from bench.engine.ready import CellId
from bench.errors import BenchError
from bench.plan.plan import Cell
from bench.store.cell_folders import Artifacts

TEND_S = 5.0  # interval of looks at the workers
LEAVE_S, LOOK_S = 10.0, 0.5  # time for workers to end by themselves when all is done, interval of looks
MAX_IDLE_STARTS = 5  # so many starts of workers in a row without progress are an error
PATIENCE_S = 600.0  # a batch system that answers no more is an error after this time


class FleetError(BenchError):
    """A command of the batch system or cluster failed."""


class Fleet(Protocol):
    """Starts workers somewhere. Each file of this package with the name of an executor has one."""

    where: str  # names the workers in messages: 'Slurm jobs'

    def start(self, number: int) -> None:
        """Start workers. Raises ``FleetError`` if that is impossible."""
        ...

    def alive(self) -> int:
        """Return the number of workers that wait for a machine or run. Raises ``FleetError``."""
        ...

    def stop(self) -> None:
        """End all workers; interrupted cells resume from their checkpoints."""
        ...

    def logs(self) -> str:
        """Return where the output of the workers is."""
        ...


@dataclass(frozen=True)
class WorkerCommand:
    """The command of a worker: one cell at a time, for one run of an output folder.

    ``only`` are the filters of the run. ``stages`` are those whose cells it runs, () for all; it ends by itself before
    ``minutes`` have passed if it can.
    """

    out: Path
    name: str
    device: str
    threads: int
    only: tuple[str, ...] = ()
    stages: tuple[str, ...] = ()
    minutes: int | None = None

    @property
    def words(self) -> tuple[str, ...]:
        """The command line."""
        options = ["--out", str(self.out), "--name", self.name, "--device", self.device, "--threads", str(self.threads)]
        options += [word for text in self.only for word in ("--only", text)]
        options += ["--stages", ",".join(self.stages)] if self.stages else []
        options += ["--minutes", str(self.minutes)] if self.minutes else []
        return (sys.executable, "-m", "bench.cli", "worker", *options, "--jobs", "1", "--no-retry")


class FleetExecutor:
    """Keeps workers alive while there are cells for them, at most ``workers``; it runs no cell itself.

    Each fleet has the stages whose cells its workers run, () for all.
    """

    slots = 0

    def __init__(self, fleets: Sequence[tuple[Fleet, tuple[str, ...]]], workers: int, out: Path) -> None:
        self._fleets, self._workers, self._artifacts = fleets, workers, Artifacts(out)
        self._next_s = 0.0  # time of the next look
        self._answered_s: float | None = None  # time of the last look without an error
        self._cells: frozenset[CellId] = frozenset()  # at the last start
        self._steps: dict[CellId, int] = {}  # the highest step of each cell so far
        self._idle_starts = 0

    @property
    def logs(self) -> list[str]:
        """Where the output of the workers is, a line for each fleet."""
        return [f"{fleet.where}: {fleet.logs()}" for fleet, _ in self._fleets]

    def submit(self, fn: Callable[..., Any], *args: Any) -> Future[Any]:
        """Not used: there are no slots."""
        raise NotImplementedError("cells are run by workers elsewhere")

    def tend(self, cells: Sequence[Cell]) -> None:
        """Replace workers that have ended.

        Raises ``BenchError`` if new ones end again and again without progress, ``FleetError`` if the first command
        fails, or all for ``PATIENCE_S``.
        """
        now = time.monotonic()
        if now < self._next_s:
            return
        self._next_s = now + TEND_S
        try:
            self._replace(cells)
            self._answered_s = now
        except FleetError:
            if self._answered_s is None or now - self._answered_s > PATIENCE_S:
                raise

    def _replace(self, cells: Sequence[Cell]) -> None:
        alive = [fleet.alive() for fleet, _ in self._fleets]
        places = self._workers - sum(alive)
        for (fleet, stages), number in zip(self._fleets, alive, strict=True):
            mine = [cell for cell in cells if not stages or cell.stage in stages]
            missing = min(len(mine) - number, places)
            if missing > 0 and self._may_start(fleet, cells):
                fleet.start(missing)
                places -= missing

    def _may_start(self, fleet: Fleet, cells: Sequence[Cell]) -> bool:
        """Return whether to start workers: not after many starts without progress, while a cell still runs."""
        self._idle_starts = 0 if self._progressed(cells) else self._idle_starts + 1
        if self._idle_starts < MAX_IDLE_STARTS:
            return True
        if any(self._artifacts.is_claimed(*cell.id) for cell in cells):
            return False
        raise BenchError(
            f"{fleet.where} ended {MAX_IDLE_STARTS} times without finishing a cell or a training step; see "
            f"{fleet.logs()}; if their time limit was too short: resources.default.minutes in the suite"
        )

    def _progressed(self, cells: Sequence[Cell]) -> bool:
        """Return whether a cell was finished, or a training got further than ever, since the last start."""
        before, self._cells = self._cells, frozenset(cell.id for cell in cells)
        found = self._cells != before
        for cell in cells:
            step = (self._artifacts.progress(*cell.id) or {}).get("step") or 0
            found = found or step > self._steps.get(cell.id, 0)
            self._steps[cell.id] = max(step, self._steps.get(cell.id, 0))
        return found

    def close(self) -> None:
        """Wait a moment for the workers, which end by themselves as no cell is left; then end those that are left."""
        end = time.monotonic() + LEAVE_S
        with suppress(FleetError):
            while any(fleet.alive() for fleet, _ in self._fleets) and time.monotonic() < end:
                time.sleep(LOOK_S)
            self.kill()

    def kill(self) -> None:
        """End the workers."""
        for fleet, _ in self._fleets:
            fleet.stop()
