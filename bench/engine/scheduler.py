"""Runs a plan: resumes, retries failures, skips cells that depend on a failure (with reasons), records all rows."""

from __future__ import annotations

import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field, replace

from bench.engine.cell_run import blank_row, finished_row, run_cell
from bench.engine.deaths import cause_of_death
from bench.engine.elsewhere import Elsewhere
from bench.engine.executors.local import Executor
from bench.engine.executors.worker import WorkerDied
from bench.engine.ready import CellId, ReadyCells
from bench.errors import DiskError
from bench.forecast.cost_model import Prediction
from bench.plan.plan import Cell, unique
from bench.stages import RunEnv
from bench.store.cell_folders import Artifacts
from bench.store.disk import require_space
from bench.store.results import Store
from bench.store.unfinished_cells import CellBusy
from bench.types import ResultRow

LOOK_S = 1.0  # interval of looks at cells that other processes run
MAX_DEATHS = 2  # a cell has failed if its worker was killed this often, the last time without other running cells


@dataclass
class Summary:
    """The outcome of a run, as numbers of cells."""

    reused: int = 0
    done: int = 0
    elsewhere: int = 0  # done by other processes during the run
    failed: dict[CellId, str] = field(default_factory=dict)
    skipped: dict[CellId, str] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """0 if every cell is done, 1 if some failed."""
        return 1 if self.failed or self.skipped else 0


class Listener:
    """Callbacks during a run, used by the console and the MLflow view. Override the methods that you need."""

    def started(self, cell: Cell) -> None:
        """A cell was handed to a worker."""

    def finished(self, cell: Cell, row: ResultRow) -> None:
        """A cell ended: done, failed or skipped."""

    def taken_elsewhere(self, cell: Cell) -> None:
        """Another process turned out to run a started cell."""

    def ended_elsewhere(self, cell: Cell, row: ResultRow) -> None:
        """Another process has run a cell: done or failed."""


class Gate:
    """How many training sets of a learning curve are run: ``sets``, None for all; asked when these are done."""

    sets: int | None = None

    def more(self) -> bool:
        """Return whether to run more sets; ``sets`` is then higher."""
        return False


class Runner:
    """Runs the cells in plan order, each as soon as its upstream cells are done and a slot is free."""

    def __init__(self, cells: Sequence[Cell], env: RunEnv, listeners: Sequence[Listener] = ()) -> None:
        self.env, self.listeners = env, listeners
        self.artifacts, self.store = Artifacts(env.out), Store(env.out)
        self.cells = {c.id: c for c in unique(cells)}
        self.waiting = dict.fromkeys(self.cells)  # ids, in plan order
        self.ok: set[CellId] = set()
        self.summary = Summary()
        self.damaged: dict[CellId, str] = {}  # finished cells that are run again, and the problem of their files
        self.deaths: dict[CellId, int] = {}  # number of workers that were killed, per cell
        self.predictions: Mapping[CellId, Prediction] = {}  # stored in the rows of their cells
        self.ended: list[ResultRow] = []  # rows of this run
        self.busy_s = 0.0  # sum of the seconds that slots were in use
        self._handed_at: dict[CellId, float] = {}
        self._suspects: deque[Cell] = deque()  # waiting cells whose worker was killed
        self.elsewhere = Elsewhere(env)
        self._rows_elsewhere: list[ResultRow] = []

    def reuse(self) -> int:
        """Reuse finished cells, adding rows that a killed run did not write; return the number of cells to run.

        A cell with changed files is run again and listed in ``damaged``.
        """
        known = self.store.rows()
        missing = []
        for cell_id in list(self.waiting):
            if self.artifacts.is_done(*cell_id):
                del self.waiting[cell_id]
                self.ok.add(cell_id)
                row = finished_row(self.cells[cell_id], self.env, self.artifacts)
                if not _is_same_result(known.get(row.key), row):
                    missing.append(row)
            elif damage := self.artifacts.damage(*cell_id):
                self.damaged[cell_id] = damage
        self.summary.reused = len(self.ok)
        self.store.heal()
        self.store.append(missing)
        self.elsewhere.note_failures(self.waiting)
        return len(self.waiting)

    def run(self, make_executor: Callable[[], Executor], gate: Gate | None = None) -> Summary:
        """Run the remaining cells, of a learning curve as many sets as ``gate`` says; ``cells`` then lacks the others.

        A ``KeyboardInterrupt`` stops the workers and is raised again.
        """
        self._gate = gate or Gate()
        if not self.waiting:
            return self.summary
        executor = make_executor()
        self._ready = ReadyCells(list(self.cells.values()), self.ok)
        running: dict[Future[ResultRow], Cell] = {}
        try:
            while (self.waiting or running or self.elsewhere.cells) and not self.elsewhere.leaves(bool(running)):
                self._fill(executor, running)
                pause_s = self._look_elsewhere(executor) if self.elsewhere.cells else None
                if running:
                    done, _ = wait(running, timeout=pause_s, return_when=FIRST_COMPLETED)
                    self._collect(done, running)
                elif pause_s is not None:
                    time.sleep(pause_s)
                elif self._gate.sets is not None and not self._gate.more():
                    self._leave_out()
        except BaseException:
            executor.kill()
            for cell in running.values():
                self.artifacts.free(*cell.id)  # for other machines, which cannot see that the worker has ended
            raise
        executor.close()
        self._add_missing_rows()
        return self.summary

    def _fill(self, executor: Executor, running: dict[Future[ResultRow], Cell]) -> None:
        """Start ready cells while slots are free; a cell whose worker was killed runs last and alone."""
        if any(cell.id in self.deaths for cell in running.values()):
            return
        while len(running) < max(executor.slots, 1) and (cell := self._ready.take(self._gate.sets)):
            self._start(cell, executor, running)
        if self._suspects and not running:
            self._start(self._suspects.popleft(), executor, running)

    def _look_elsewhere(self, executor: Executor) -> float:
        """Use what other processes have done, start cells that are free; return the seconds until the next look."""
        before = time.monotonic()
        executor.tend(list(self.elsewhere.cells.values()))
        for cell, state in self.elsewhere.look():
            if state == "free":
                if executor.slots:
                    self.elsewhere.forget(cell)
                    self.waiting[cell.id] = None
                    self._ready.again(cell, self.ok)
            elif state != "busy":
                self.elsewhere.forget(cell)
                self._end_elsewhere(cell, state)
        return max(LOOK_S, 5 * (time.monotonic() - before))

    def _end_elsewhere(self, cell: Cell, state: str) -> None:
        """Use the result or the failure of a cell that another process has run."""
        if state == "done":
            row = finished_row(cell, self.env)
            self.ok.add(cell.id)
            self._ready.done(cell)
            self.summary.elsewhere += 1
            self._redo_out_of_date(cell)
        else:
            row = blank_row(cell, self.env, "failed", self.elsewhere.failure(cell))
            self.summary.failed[cell.id] = row.error or "unknown error"
        self._rows_elsewhere.append(row)
        for listener in self.listeners:
            listener.ended_elsewhere(cell, row)
        if state != "done":
            self._skip_what_needs(cell)

    def _add_missing_rows(self) -> None:
        """Add the rows of cells that other processes have run; those that were killed may not have written theirs."""
        if self._rows_elsewhere:
            known = self.store.rows()
            done = [row for row in self._rows_elsewhere if row.status == "done"]
            self.store.append(row for row in done if not _is_same_result(known.get(row.key), row))

    def _leave_out(self) -> None:
        """Forget the cells of the training sets that are not needed."""
        self.cells = {i: cell for i, cell in self.cells.items() if i not in self.waiting}
        self.waiting.clear()

    def _start(self, cell: Cell, executor: Executor, running: dict[Future[ResultRow], Cell]) -> None:
        del self.waiting[cell.id]
        if not executor.slots or self.elsewhere.state(cell) != "free":
            self.elsewhere.add(cell)
            return
        for listener in self.listeners:
            listener.started(cell)
        self._handed_at[cell.id] = time.monotonic()
        running[executor.submit(run_cell, cell, self.env, False)] = cell

    def _skip_what_needs(self, failed: Cell) -> None:
        for cell in self._ready.drop_downstream(failed):
            reason = self._blocked(cell)
            del self.waiting[cell.id]
            self.summary.skipped[cell.id] = reason
            self._record(cell, blank_row(cell, self.env, "skipped", reason))

    def _blocked(self, cell: Cell) -> str:
        """Return why a cell cannot run: the first upstream cell that failed or was skipped."""
        failed, skipped = self.summary.failed, self.summary.skipped
        up = next(up for up in cell.upstream if up in failed or up in skipped)
        if up in skipped:
            return skipped[up]
        return f"needs {self.cells[up].title}, which failed: {failed[up].splitlines()[0]}"

    def _collect(self, done: Iterable[Future[ResultRow]], running: dict[Future[ResultRow], Cell]) -> None:
        stop: DiskError | None = None
        for future in done:
            cell = running.pop(future)
            self.busy_s += time.monotonic() - self._handed_at[cell.id]
            error = future.exception()
            if error is None:
                self._finish(cell, future.result())
            elif isinstance(error, CellBusy):
                self.elsewhere.add(cell)
                for listener in self.listeners:
                    listener.taken_elsewhere(cell)
            elif isinstance(error, DiskError):
                stop = error
            elif isinstance(error, WorkerDied):
                self._again_or_failed(cell, error)
            else:  # run_cell raises only a plug-in's KeyboardInterrupt or errors of the harness itself
                text = "".join(traceback.format_exception(error))
                self._fail(cell, f"{type(error).__name__}: {error}\n{text}")
        if stop:  # every cell would fail in the same way; finished cells are kept, the next run continues
            raise stop

    def _again_or_failed(self, cell: Cell, death: WorkerDied) -> None:
        """Retry a cell once, alone, if its worker was killed; if the worker exited by itself, the cell has failed.

        The kernel kills the process with the most memory, not the one that requested more. Only a cell that is killed
        while it runs alone is considered the cause.
        """
        require_space(self.env.out)  # a full disk also kills processes (SIGBUS)
        self.deaths[cell.id] = self.deaths.get(cell.id, 0) + 1
        if death.status < 0 and self.deaths[cell.id] < MAX_DEATHS:
            self.waiting[cell.id] = None
            self._suspects.append(cell)
        else:
            self._fail(cell, cause_of_death(death, self.artifacts.progress(*cell.id), MAX_DEATHS))

    def _fail(self, cell: Cell, text: str) -> None:
        self.artifacts.fail(*cell.id, text)
        self._finish(cell, blank_row(cell, self.env, "failed", text))

    def _finish(self, cell: Cell, row: ResultRow) -> None:
        if cell.id in self.predictions:
            row = replace(row, costs={**row.costs, **self.predictions[cell.id].costs()})
        self.ended.append(row)
        if row.status == "done":
            self.ok.add(cell.id)
            self._ready.done(cell)
            self.summary.done += 1
            self._redo_out_of_date(cell)
        else:
            self.summary.failed[cell.id] = row.error or "unknown error"
        self._record(cell, row)
        if row.status != "done":
            self._skip_what_needs(cell)

    def _redo_out_of_date(self, cell: Cell) -> None:
        """Run those reused cells again that were made from an earlier, different result of ``cell``."""
        artifacts = Artifacts(self.env.out)  # a new object, because the runner's one caches earlier checks
        for behind in self._ready.below(cell):
            if behind.id in self.ok and not artifacts.is_done(*behind.id):
                self.ok.remove(behind.id)
                self.waiting[behind.id] = None
                self.summary.reused -= 1
                self._ready.again(behind, self.ok)

    def _record(self, cell: Cell, row: ResultRow) -> None:
        self.store.append([row])
        for listener in self.listeners:
            listener.finished(cell, row)


def _is_same_result(row: ResultRow | None, finished: ResultRow) -> bool:
    """Return whether a row of the store equals the result in the cell's folder."""
    if row is None or (row.status, row.finished_at) != ("done", finished.finished_at):
        return False
    return repr(sorted(row.metrics.items())) == repr(sorted(finished.metrics.items()))  # repr: NaN equals NaN
