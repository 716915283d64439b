"""A run beside other processes in the same folder: it uses what they have done, and takes over what they leave."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from toy import register, write_squares, write_suite

from bench.engine import scheduler
from bench.engine.executors import fleet as fleets
from bench.engine.executors.fleet import MAX_IDLE_STARTS, TEND_S, FleetExecutor, WorkerCommand
from bench.engine.executors.local import InProcess
from bench.engine.scheduler import Listener, Runner
from bench.engine.session import Session, prepare
from bench.errors import BenchError
from bench.plan.plan import Cell
from bench.store.cell_folders import Artifacts
from bench.store.results import Store
from bench.types import ResultRow

DONE = {"metrics": {"auroc": 0.5}, "costs": {}, "facts": {}, "finished_at": "2020-01-01T00:00:00+00:00"}


class Heard(Listener):
    """What a run tells its listeners, by stage."""

    def __init__(self) -> None:
        self.here: list[tuple[str, str]] = []
        self.elsewhere: list[tuple[str, str]] = []

    def finished(self, cell: Cell, row: ResultRow) -> None:
        self.here.append((cell.stage, row.status))

    def ended_elsewhere(self, cell: Cell, row: ResultRow) -> None:
        self.elsewhere.append((cell.stage, row.status))


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Session:
    register(monkeypatch)
    monkeypatch.setattr(scheduler, "LOOK_S", 0.01)
    write_squares(tmp_path / "data")
    write_suite(tmp_path / "toy.yaml", methods={"none": {}, "toy": {}}, ratios=[1.0])
    return prepare(str(tmp_path / "toy.yaml"), (), tmp_path / "data", tmp_path / "out")


def runner_of(session: Session, *stages: str) -> tuple[Runner, Heard]:
    heard = Heard()
    cells = [c for c in session.plan.work if c.fold == 0 and c.stage in stages]
    runner = Runner(cells, session.env, [heard])
    runner.reuse()
    return runner, heard


@contextmanager
def other_process(session: Session, cell: Cell, started: threading.Event, end: Any) -> Iterator[None]:
    """Hold the claim of a cell; ``end`` is called with the store's object when the run has left the cell to others."""
    artifacts, taken = Artifacts(session.env.out), threading.Event()

    def work() -> None:
        with artifacts.work(*cell.id):
            taken.set()
            started.wait(60)
            end(artifacts)

    thread = threading.Thread(target=work)
    thread.start()
    taken.wait(60)
    yield
    started.set()
    thread.join()


def run(runner: Runner, left: threading.Event) -> None:
    """Run; ``left`` is set as soon as the run has left a cell to another process."""
    add = runner._elsewhere.add

    def note(cell: Cell) -> None:
        add(cell)
        left.set()

    runner._elsewhere.add = note  # type: ignore[method-assign]
    runner.run(lambda: InProcess(1))


def test_the_result_of_another_process_is_used_and_its_missing_row_added(session: Session) -> None:
    runner, heard = runner_of(session, "split", "fit")
    fit = next(c for c in runner.cells.values() if c.stage == "fit")
    left = threading.Event()
    with other_process(session, fit, left, lambda artifacts: artifacts.commit(*fit.id, DONE, fit.upstream)):
        run(runner, left)
    assert (runner.summary.done, runner.summary.elsewhere, runner.summary.exit_code) == (1, 1, 0)
    assert (heard.here, heard.elsewhere) == ([("split", "done")], [("fit", "done")])
    assert Store(session.env.out).rows()[fit.row_key].metrics == {"auroc": 0.5}


def test_a_failure_of_another_process_is_not_repeated_in_the_same_run(session: Session) -> None:
    runner, heard = runner_of(session, "split", "fit", "synthesize")
    fit = next(c for c in runner.cells.values() if c.stage == "fit")
    left = threading.Event()
    with other_process(session, fit, left, lambda artifacts: artifacts.fail(*fit.id, "no luck\nthere")):
        run(runner, left)
    assert runner.summary.failed == {fit.id: "no luck\nthere"}
    assert [text for text in runner.summary.skipped.values()] == [f"needs {fit.title}, which failed: no luck"]
    assert heard.elsewhere == [("fit", "failed")]
    again, _ = runner_of(session, "split", "fit", "synthesize")
    again.run(lambda: InProcess(1))
    assert (again.summary.done, again.summary.exit_code) == (2, 0), "the next run retries it"


def test_a_cell_that_another_process_gave_up_is_run_here(session: Session) -> None:
    runner, heard = runner_of(session, "split", "fit")
    fit = next(c for c in runner.cells.values() if c.stage == "fit")
    left = threading.Event()
    with other_process(session, fit, left, lambda artifacts: None):
        run(runner, left)
    assert (runner.summary.done, runner.summary.elsewhere) == (2, 0)
    assert heard.here == [("split", "done"), ("fit", "done")]


class FakeFleet:
    """Workers as numbers; ``started`` lists how many were started at once."""

    where = "fake workers"

    def __init__(self) -> None:
        self.started: list[int] = []
        self.living = self.stopped = 0

    def start(self, number: int) -> None:
        self.started.append(number)
        self.living += number

    def alive(self) -> int:
        return self.living

    def stop(self) -> None:
        self.stopped += 1

    def logs(self) -> str:
        return "the log"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(fleets.time, "monotonic", lambda: now[0])
    return now


def test_workers_that_ended_are_replaced_and_never_more_than_the_cells_need(
    session: Session, clock: list[float]
) -> None:
    fleet, cells = FakeFleet(), list(session.plan.work)
    executor = FleetExecutor(fleet, 4)
    executor.tend(cells[:3])
    executor.tend(cells[:3])
    assert fleet.started == [3]
    clock[0] += TEND_S
    executor.tend(cells)
    clock[0] += TEND_S
    fleet.living = 1
    executor.tend(cells[1:])
    assert fleet.started == [3, 1, 3]
    executor.close()
    assert fleet.stopped == 1


def test_workers_that_end_again_and_again_without_a_result_are_an_error(session: Session, clock: list[float]) -> None:
    fleet, cells = FakeFleet(), list(session.plan.work)
    executor = FleetExecutor(fleet, 1)
    for _ in range(MAX_IDLE_STARTS):
        executor.tend(cells)
        fleet.living = 0
        clock[0] += TEND_S
    with pytest.raises(BenchError, match=r"fake workers ended \d times without finishing a cell; see the log"):
        executor.tend(cells)
    assert len(fleet.started) == MAX_IDLE_STARTS


def test_the_coordinator_of_workers_runs_no_cell_itself(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleets, "TEND_S", 0.0)

    class Fleet(FakeFleet):
        def start(self, number: int) -> None:
            super().start(number)
            worker, _ = runner_of(session, "split", "fit")
            worker.run(lambda: InProcess(1))
            self.living = 0

    runner, heard = runner_of(session, "split", "fit")
    fleet = Fleet()
    runner.run(lambda: FleetExecutor(fleet, 2))
    assert (runner.summary.done, runner.summary.elsewhere) == (0, 2)
    assert (heard.here, heard.elsewhere) == ([], [("split", "done"), ("fit", "done")])
    assert fleet.stopped == 1


def test_the_command_of_a_worker_names_the_run_and_its_threads(tmp_path: Path) -> None:
    words = WorkerCommand(tmp_path, "ci", "cpu", 3).words
    assert words[1:4] == ("-m", "bench.cli", "worker")
    options = dict(zip(words[4::2], words[5::2], strict=True))
    assert (options["--out"], options["--name"], options["--threads"]) == (str(tmp_path), "ci", "3")
