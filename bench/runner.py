"""Runs a plan: resumes, retries failures, skips what depends on a failure (with the reason), records everything."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field, replace

from bench.artifacts import Artifacts
from bench.cells import blank_row, finished_row, run_cell
from bench.estimate import Prediction
from bench.executors.local import Executor
from bench.plan import Cell, Plan, unique
from bench.ready import CellId, ReadyCells
from bench.stages import RunEnv
from bench.store import Store
from bench.types import ResultRow

WORKER_DEATHS = 2  # a cell that was in work this often when a worker died is taken to be the cause


@dataclass
class Summary:
    """How a run ended, as counts of pieces of work."""

    reused: int = 0
    done: int = 0
    failed: dict[CellId, str] = field(default_factory=dict)
    skipped: dict[CellId, str] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """0 when every cell is done, 1 when some failed."""
        return 1 if self.failed or self.skipped else 0


class Listener:
    """What a run tells while it goes on; the console and the MLflow view listen. Override what matters."""

    def started(self, cell: Cell) -> None:
        """A cell was handed to a worker."""

    def finished(self, cell: Cell, row: ResultRow) -> None:
        """A cell ended: done, failed or skipped."""


class Runner:
    """Walks the cells in plan order, each as soon as its upstream is done and a slot is free."""

    def __init__(self, cells: Sequence[Cell], env: RunEnv, listeners: Sequence[Listener] = ()) -> None:
        self.env, self.listeners = env, listeners
        self.artifacts, self.store = Artifacts(env.out), Store(env.out)
        self.cells = {c.id: c for c in unique(cells)}
        self.waiting = dict.fromkeys(self.cells)  # ids, in plan order
        self.ok: set[CellId] = set()
        self.summary = Summary()
        self.deaths: dict[CellId, int] = {}
        self.predictions: Mapping[CellId, Prediction] = {}  # kept in the rows of the cells that they are of
        self.ended: list[ResultRow] = []  # of this run
        self.busy_s = 0.0  # seconds that slots were taken, added up
        self._handed_at: dict[CellId, float] = {}

    def reuse(self) -> int:
        """Take over what is already done, adding rows that a killed run could not; return what is left to do."""
        known = self.store.rows()
        missing = []
        for cell_id in [i for i in self.waiting if self.artifacts.is_done(*i)]:
            del self.waiting[cell_id]
            self.ok.add(cell_id)
            row = known.get(self.cells[cell_id].row_key)
            if row is None or row.status != "done":
                missing.append(finished_row(self.cells[cell_id], self.env))
        self.summary.reused = len(self.ok)
        self.store.append(missing)
        return len(self.waiting)

    def run(self, make_executor: Callable[[], Executor]) -> Summary:
        """Do all that is left. A ``KeyboardInterrupt`` stops the workers and passes through."""
        if not self.waiting:
            return self.summary
        executor = make_executor()
        self._ready = ReadyCells([self.cells[i] for i in self.waiting], self.ok)
        running: dict[Future[ResultRow], Cell] = {}
        try:
            while self.waiting or running:
                self._fill(executor, running)
                if running:
                    done, _ = wait(running, return_when=FIRST_COMPLETED)
                    self._collect(done, running, executor)
        except BaseException:
            executor.kill()
            raise
        executor.close()
        return self.summary

    def _fill(self, executor: Executor, running: dict[Future[ResultRow], Cell]) -> None:
        """Start what can run, as far as there are free slots."""
        while len(running) < executor.slots and (cell := self._ready.take()):
            del self.waiting[cell.id]
            for listener in self.listeners:
                listener.started(cell)
            self._handed_at[cell.id] = time.monotonic()
            running[executor.submit(run_cell, cell, self.env)] = cell

    def _skip_what_needs(self, failed: Cell) -> None:
        for cell in self._ready.drop_downstream(failed):
            reason = self._blocked(cell)
            del self.waiting[cell.id]
            self.summary.skipped[cell.id] = reason
            self._record(cell, blank_row(cell, self.env, "skipped", reason))

    def _blocked(self, cell: Cell) -> str:
        """Return why a cell cannot run: its first upstream cell that failed or was skipped."""
        failed, skipped = self.summary.failed, self.summary.skipped
        up = next(up for up in cell.upstream if up in failed or up in skipped)
        if up in skipped:
            return skipped[up]
        return f"needs {self.cells[up].title}, which failed: {failed[up].splitlines()[0]}"

    def _collect(
        self, done: Iterable[Future[ResultRow]], running: dict[Future[ResultRow], Cell], executor: Executor
    ) -> None:
        died = []
        for future in done:
            cell = running.pop(future)
            self.busy_s += time.monotonic() - self._handed_at[cell.id]
            error = future.exception()
            if error is None:
                self._settle(cell, future.result())
            elif _is_worker_death(error):
                died.append(cell)
            else:  # run_cell does not raise; what arrives here is the machinery itself (a full disk, say)
                text = "".join(traceback.format_exception(error))
                self._settle(cell, blank_row(cell, self.env, "failed", f"{type(error).__name__}: {error}\n{text}"))
        if died:  # every call in the pool is lost with the dead worker; which one killed it cannot be known
            died += running.values()
            running.clear()
            executor.restart()
            for cell in died:
                self._again_or_failed(cell)

    def _again_or_failed(self, cell: Cell) -> None:
        self.deaths[cell.id] = self.deaths.get(cell.id, 0) + 1
        if self.deaths[cell.id] < WORKER_DEATHS:
            self.waiting[cell.id] = None
            self._ready.put_back(cell)
            return
        text = f"the worker process died {WORKER_DEATHS} times in this cell (out of memory? killed?); try --jobs 1"
        self.artifacts.fail(*cell.id, text)
        self._settle(cell, blank_row(cell, self.env, "failed", text))

    def _settle(self, cell: Cell, row: ResultRow) -> None:
        if cell.id in self.predictions:
            row = replace(row, costs={**row.costs, **self.predictions[cell.id].costs()})
        self.ended.append(row)
        if row.status == "done":
            self.ok.add(cell.id)
            self._ready.done(cell)
            self.summary.done += 1
        else:
            self.summary.failed[cell.id] = row.error or "unknown error"
        self._record(cell, row)
        if row.status != "done":
            self._skip_what_needs(cell)

    def _record(self, cell: Cell, row: ResultRow) -> None:
        self.store.append([row])
        for listener in self.listeners:
            listener.finished(cell, row)


def _is_worker_death(error: BaseException) -> bool:
    from concurrent.futures.process import BrokenProcessPool

    return isinstance(error, BrokenProcessPool)


def rows_of(plan: Plan, env: RunEnv, stored: Mapping[str, ResultRow] | None = None) -> list[ResultRow]:
    """Return one row for every cell of the plan, under the plan's own names: from the store, or 'missing'.

    The folder is the truth for what is done; a failure counts until the cell is done. ``stored`` are the store's rows,
    read from it where None.
    """
    known = Store(env.out).rows() if stored is None else stored
    artifacts = Artifacts(env.out)
    rows = []
    for cell in plan.cells:
        row = known.get(cell.row_key)
        if artifacts.is_done(*cell.id):
            if row is None or row.status != "done":
                row = finished_row(cell, env)
        elif row is None or row.status == "done":
            row = replace(blank_row(cell, env, "missing"), finished_at="")
        row = replace(row, suite=env.suite.name, dataset=env.suite.dataset.name)
        rows.append(replace(row, method=cell.method, classifier=cell.classifier))
    return rows
