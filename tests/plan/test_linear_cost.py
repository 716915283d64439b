"""What a run, `bench plan` and `bench status` do grows as the cells do, not as their square.

Counted are calls of Python functions, which depend on neither the machine nor its load: four times the cells make four
times the calls; a search through all cells for each cell makes up to sixteen times as many.
"""

from __future__ import annotations

import cProfile
import pstats
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from made_stores import finish
from toy import register, write_squares, write_suite

from bench.cli.plan import plan_facts, show_plan
from bench.cli.status import read_status
from bench.cost.host import describe_host, versions
from bench.engine.cell_run import blank_row
from bench.engine.scheduler import Runner
from bench.engine.session import Session, prepare
from bench.forecast.cost_model import CostModel
from bench.forecast.workload import Workload, workloads
from bench.plan.plan import Cell
from bench.store import cell_folders
from bench.store.cell_folders import Artifacts
from bench.store.cell_records import read_done
from bench.store.results import Store
from bench.types import ResultRow

MOST = 5.5  # times the calls for four times the cells; quadratic parts raise it towards 16
TIMES = 4


def calls(work: Callable[[], object]) -> int:
    """Return how many Python functions are called."""
    profile = cProfile.Profile(builtins=False)
    profile.runcall(work)
    return int(pstats.Stats(profile).total_calls)  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def sessions(tmp_path_factory: pytest.TempPathFactory) -> Iterable[tuple[Session, Session]]:
    """A suite of 8 methods, and the same with four times the repeats; half of the cells of each are done."""
    folder = tmp_path_factory.mktemp("linear")
    with pytest.MonkeyPatch.context() as patch:
        register(patch)
        data = write_squares(folder / "data")
        methods = {"none": {}, **{f"toy{i}": {"use": "toy", "steps": 1 + i} for i in range(7)}}
        found = []
        for repeats in (2, 2 * TIMES):
            split = {"folds": 2, "repeats": repeats, "validation_fraction": 0.3}
            suite = write_suite(folder / f"{repeats}.yaml", methods=methods, split=split)
            found.append(half_done(prepare(str(suite), (), data, folder / str(repeats))))
        yield found[0], found[1]


def half_done(session: Session) -> Session:
    artifacts, works, env = Artifacts(session.env.out), workloads(session.plan), session.env
    rows = []
    for cell in session.plan.work[::2]:
        artifacts.folder(*cell.id).mkdir(parents=True)
        (artifacts.folder(*cell.id) / "done.json").write_text("{}")
        work = {**works[cell.row_key].plain(), "first": False}
        facts = {"work": work, "host": describe_host("cpu"), "versions": versions()}
        costs = {"elapsed_s": 3.0, "device_s": 2.0, "step_s": 1.0, "step_device_s": 1.0}
        rows.append(replace(blank_row(cell, env, "done"), costs=costs, facts=facts))
    Store(env.out).append(rows)
    return session


@pytest.mark.parametrize("verb", ["plan", "plan --json", "status", "prepare"])
def test_plan_and_status_are_linear_in_the_cells(sessions: tuple[Session, Session], verb: str, capsys: Any) -> None:
    do: dict[str, Callable[[Session], object]] = {
        "plan": lambda s: show_plan(s, (), as_json=False, jobs=2),
        "plan --json": lambda s: plan_facts(s, (), jobs=2),
        "status": read_status,
        "prepare": lambda s: prepare(str(s.env.out.with_suffix(".yaml")), (), s.env.data, s.env.out),
    }
    few, many = sessions
    assert len(many.plan.work) == pytest.approx(TIMES * len(few.plan.work), rel=0.05)
    ratio = calls(lambda: do[verb](many)) / calls(lambda: do[verb](few))
    assert ratio < MOST


@pytest.mark.parametrize("verb", ["plan", "status"])
def test_plan_and_status_read_each_finished_cell_once(
    sessions: tuple[Session, Session], verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = replace(sessions[0], env=replace(sessions[0].env, out=tmp_path))
    cells = session.plan.work[:40]
    finish(session, cells)
    read: list[Path] = []
    monkeypatch.setattr(cell_folders, "read_done", lambda path: read.append(path) or read_done(path))
    if verb == "plan":
        show_plan(session, (), as_json=False, jobs=2)
    else:
        assert read_status(session).counts["done"] == len(cells)
    assert not read, "unchanged cells are known from their last verification"


def test_each_prediction_takes_the_same_however_many_cells_were_measured() -> None:
    def learn_and_predict(n: int) -> None:
        work = {f"fit/{i}": Workload(f"shape {i % 3}", {"step": 5.0 + i}) for i in range(n)}
        model = CostModel(work)
        for key, w in work.items():
            costs = {"elapsed_s": 3.0, "step_s": 1.0, "step_device_s": 1.0}
            model.add(ResultRow(key, "fit", "s", "d", "done", costs=costs, facts={"work": w.plain()}))
            assert model.predict(Cell("fit", key.removeprefix("fit/"), 0, 0)) is not None

    assert calls(lambda: learn_and_predict(400)) / calls(lambda: learn_and_predict(100)) < MOST


class Compared(str):
    """A key that counts how often keys are compared with one another; searches through a list do that."""

    times = 0
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        Compared.times += 1
        return str.__eq__(self, other)


class AtOnce:
    """An executor that ends each cell when it is handed over; generators of odd folds fail."""

    slots = 2

    def __init__(self) -> None:
        self.order: list[Cell] = []

    def submit(self, run: Any, cell: Cell, env: Any, wait: bool) -> Future[ResultRow]:
        self.order.append(cell)
        status, error = ("failed", "no memory") if cell.stage == "fit" and cell.fold % 2 else ("done", None)
        future: Future[ResultRow] = Future()
        future.set_result(blank_row(cell, env, status, error))
        return future

    def restart(self) -> None: ...

    def close(self) -> None: ...

    def kill(self) -> None: ...


def folds(n: int) -> list[Cell]:
    """Return the cells of n folds: a split, a generator and six classifiers of its images."""
    cells = []
    for fold in range(n):
        split = Cell("split", Compared(f"s{fold}"), fold, 0)
        fit = Cell("fit", Compared(f"f{fold}"), fold, 0, "toy", upstream=(split.id,))
        cells += [split, fit]
        cells += [
            Cell("classify", Compared(f"c{fold}.{i}"), fold, 0, "toy", "1", f"c{i}", upstream=(split.id, fit.id))
            for i in range(6)
        ]
    return cells


def ran(cells: Sequence[Cell], out: Path) -> tuple[Runner, AtOnce]:
    suite = SimpleNamespace(name="s", dataset=SimpleNamespace(name="d"))
    env: Any = SimpleNamespace(out=out, suite=suite)
    runner, executor = Runner(cells, env), AtOnce()
    runner.store = SimpleNamespace(append=lambda rows: None)  # type: ignore[assignment]
    runner.run(lambda: executor)  # type: ignore[arg-type,return-value]
    return runner, executor


def test_a_run_schedules_in_linear_time(tmp_path: Path) -> None:
    few, many = folds(40), folds(40 * TIMES)
    assert calls(lambda: ran(many, tmp_path)) / calls(lambda: ran(few, tmp_path)) < MOST
    Compared.times = 0
    ran(many, tmp_path)
    assert Compared.times < 2 * len(many), "no search through lists of cells"


def test_a_run_takes_cells_in_plan_order_and_skips_what_needs_a_failure(tmp_path: Path) -> None:
    cells = folds(4)
    runner, executor = ran(cells, tmp_path)
    assert [c for c in executor.order if c.stage == "split"] == [c for c in cells if c.stage == "split"]
    assert {c.id for c in executor.order} == {c.id for c in cells if not (c.stage == "classify" and c.fold % 2)}
    of_odd_folds = [c.id for c in cells if c.stage == "classify" and c.fold % 2]
    assert list(runner.summary.skipped) == of_odd_folds
    assert runner.summary.skipped[of_odd_folds[0]] == "needs fit toy fold 1, which failed: no memory"
    assert not runner.waiting
