"""Cells that end the process they run in: they fail, with a cause that can be acted on, and no other cell does."""

from __future__ import annotations

import json
import os
import signal
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import faulty
import pytest
from click.testing import CliRunner
from toy import register, write_squares, write_suite

from bench.cli.main import main
from bench.engine.cell_run import run_cell
from bench.engine.deaths import cause_of_death
from bench.engine.executors.local import InProcess, Workers, make_executor
from bench.engine.executors.worker import WorkerDied, describe_exit
from bench.engine.scheduler import Runner
from bench.engine.session import Session, prepare
from bench.plan.plan import Cell

ENDS = {  # how a plug-in ends, and what the failed row must say
    "sys.exit(0)": "SystemExit: 0 (the cell called sys.exit",
    "os._exit(0)": "the worker process ended with exit code 0 in this cell",
    "KeyboardInterrupt": "KeyboardInterrupt",
    "BaseException": "OwnError: not an Exception",
    "MemoryError": "out of memory: use fewer --jobs, smaller batches",
    "SIGKILL": "the worker process was killed by SIGKILL 2 times in this cell, the last time while no other cell was",
}
TOY = ("--suite", "toy.yaml", "--data", "data")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_figures: None) -> Path:
    register(monkeypatch)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BENCH_IN_PROCESS", raising=False)
    write_squares(tmp_path / "data")
    return tmp_path


def faulty_methods(**ends: str) -> dict[str, Any]:
    return {name: {"use": "faulty:Faulty", "end": how} for name, how in ends.items()}


def test_however_a_plug_in_ends_its_process_the_cell_fails_and_the_run_ends_with_1(folder: Path) -> None:
    methods = faulty_methods(**{f"m{i}": how for i, how in enumerate(ENDS)}, fine="well")
    write_suite(folder / "toy.yaml", methods={"none": {}, **methods})
    result = CliRunner().invoke(main, ["run", *TOY, "--jobs", "1", "--only", "stage=fit", "--only", "fold=0"])
    assert result.exit_code == 1, result.output
    status = json.loads(CliRunner().invoke(main, ["status", *TOY, "--json"]).output)
    assert len(status["failures"]) == len(ENDS)
    for i, (how, expected) in enumerate(ENDS.items()):
        text = next(text for title, text in status["failures"].items() if f"fit m{i} " in f"{title} ")
        assert expected in text, how
    assert status["done"] == 2  # the split of the fold, and the one fit that ends well


@pytest.mark.parametrize("how", ["sys.exit(0)", "sys.exit(5)", "BaseException"])
def test_in_this_process_too_a_plug_in_cannot_end_the_run(folder: Path, how: str) -> None:
    write_suite(folder / "toy.yaml", methods={"none": {}, **faulty_methods(bad=how)})
    session = prepare("toy.yaml", (), folder / "data", folder / "out")
    fit = next(c for c in session.plan.cells if c.stage == "fit")
    runner = Runner([c for c in session.plan.cells if c.stage == "split" or c.id == fit.id], session.env)
    summary = runner.run(lambda: InProcess(1))
    assert (summary.exit_code, list(summary.failed)) == (1, [fit.id])


def test_one_cell_at_a_time_has_a_process_of_its_own_unless_a_debugger_is_wanted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BENCH_IN_PROCESS", "1")
    assert isinstance(make_executor(1, 1), InProcess)
    assert isinstance(make_executor(2, 1), Workers)
    monkeypatch.delenv("BENCH_IN_PROCESS")
    assert isinstance(make_executor(1, 1), Workers)


def test_a_worker_that_dies_fails_its_own_call_and_no_other(tmp_path: Path) -> None:
    executor = Workers(2, 1)
    try:
        pids = [executor.submit(os.getpid).result() for _ in range(2)]
        assert pids[0] == pids[1] != os.getpid()  # an idle worker is used again
        other = executor.submit(_wait_for, tmp_path / "go")
        dead = executor.submit(faulty.end, "SIGKILL")
        with pytest.raises(WorkerDied, match="killed by SIGKILL"):
            dead.result(timeout=60)
        assert executor.submit(os.getpid).result(timeout=60) not in pids  # a new process took the dead one's place
        (tmp_path / "go").touch()
        assert other.result(timeout=60) == "went"
        with pytest.raises(faulty.OwnError, match="not an Exception"):
            executor.submit(faulty.end, "BaseException").result(timeout=60)
    finally:
        executor.kill()
    assert describe_exit(-signal.SIGBUS) == "was killed by SIGBUS"


def _wait_for(path: Path) -> str:
    while not path.exists():
        pass
    return "went"


class Dying:
    """An executor of ``slots`` that finishes all cells in work together, but for those that ``deaths`` names.

    ``deaths`` maps a method to the exit codes of its worker, one a try.
    """

    def __init__(self, slots: int, deaths: dict[str, list[int]]) -> None:
        self.slots, self.deaths = slots, deaths
        self.beside: list[tuple[str, int]] = []  # of every fit: its method, and how many others were in work
        self._held: list[tuple[Future[Any], Any]] = []

    def submit(self, fn: Any, cell: Cell, env: Any, wait: bool) -> Future[Any]:
        future: Future[Any] = Future()
        self._held.append((future, (fn, cell, env)))
        others = sum(not f.done() for f, _ in self._held) - 1
        if cell.stage == "fit":
            self.beside.append((str(cell.method), others))
        codes = self.deaths.get(str(cell.method), []) if cell.stage == "fit" else []
        if codes:
            future.set_exception(WorkerDied(codes.pop(0)))
        else:
            future.set_result(run_cell(cell, env))
        return future

    def close(self) -> None: ...

    def kill(self) -> None: ...


def suspects(folder: Path, **deaths: list[int]) -> tuple[Session, Runner, Dying]:
    methods = {name: {"use": "toy", "steps": steps} for name, steps in zip("abc", (2, 3, 4), strict=True)}
    write_suite(folder / "toy.yaml", methods={"none": {}, **methods})
    session = prepare("toy.yaml", (), folder / "data", folder / "out")
    cells = [c for c in session.plan.cells if c.fold == 0 and c.stage in ("split", "fit")]
    runner, executor = Runner(cells, session.env), Dying(3, deaths)
    runner.run(lambda: executor)
    return session, runner, executor


def test_a_cell_that_was_killed_beside_others_is_tried_alone_and_last(folder: Path) -> None:
    _, runner, executor = suspects(folder, a=[-signal.SIGKILL])
    assert runner.summary.exit_code == 0
    assert [method for method, _ in executor.beside] == ["a", "b", "c", "a"]
    assert executor.beside[-1] == ("a", 0)


def test_only_the_cell_that_dies_alone_has_failed(folder: Path) -> None:
    _, runner, executor = suspects(folder, a=[-signal.SIGKILL], b=[-signal.SIGKILL] * 5, c=[3])
    failed = {runner.cells[i].method: text for i, text in runner.summary.failed.items()}
    assert set(failed) == {"b", "c"}
    assert "2 times" in failed["b"]
    assert "lack of memory" in failed["b"]
    assert "--jobs" in failed["b"]
    assert "ended with exit code 3" in failed["c"]
    assert [method for method, _ in executor.beside].count("c") == 1  # it ended itself: no second try


def test_what_the_kernel_killed_for_lack_of_memory_is_said_to_be_that(folder: Path) -> None:
    _, runner, _ = suspects(folder)
    cell = next(c for c in runner.cells.values() if c.stage == "fit")
    partial = runner.artifacts.partial(*cell.id)
    partial.mkdir(parents=True)
    (partial / "progress.json").write_text(json.dumps({"peak_memory_bytes": 3 * 2**30}))
    text = cause_of_death(WorkerDied(-signal.SIGKILL, out_of_memory=True), runner.artifacts.progress(*cell.id), 2)
    assert text.startswith("out of memory: ")
    assert "it had used 3.0 GiB" in text


@pytest.mark.parametrize("where", ["import", "check"])
def test_a_plug_in_that_exits_while_the_suite_is_planned_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    exits = {"import": "import sys\nsys.exit(0)\n", "check": "def check(self, classes): raise SystemExit(0)\n"}[where]
    body = f"from toy import Toy\nclass Leaving(Toy):\n    {exits}" if where == "check" else exits
    (folder / f"leaving_{where}.py").write_text(body)
    write_suite(folder / "toy.yaml", methods={"none": {}, "bad": {"use": f"leaving_{where}:Leaving"}})
    result = CliRunner().invoke(main, ["run", *TOY])
    assert result.exit_code == 2, result.output
    assert f"leaving_{where}.py, line " in result.output
    assert "sys.exit(0) was called while the suite was planned" in result.output


def test_a_tuning_worker_that_a_plug_in_ends_is_no_finished_study(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.tuning.worker.DEATHS_PER_WORKER", 0)  # one process, for a quick test
    write_suite(
        folder / "toy.yaml",
        methods={"none": {}, **faulty_methods(bad="os._exit(0)")},
        fidelity={"input_size_px": 32},
    )
    space = folder / "space.yaml"
    space.write_text("{bad: {steps: {low: 2, high: 4}}}")
    words = ["tune", *TOY, "--method", "bad", "--trials", "1", "--space", "space.yaml", "--device", "cpu"]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 1, result.output
    assert "worker processes ended" in result.output
