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
from bench.engine.executors.local import InProcess
from bench.engine.scheduler import Listener, Runner
from bench.engine.session import Session, prepare
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
    add = runner.elsewhere.add

    def note(cell: Cell) -> None:
        add(cell)
        left.set()

    runner.elsewhere.add = note  # type: ignore[method-assign]
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
