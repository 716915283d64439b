"""Runs: resumed exactly, failures kept apart and retried, nothing trained twice."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from toy import register, write_squares, write_suite

from bench.engine.executors.local import InProcess
from bench.engine.plan_rows import rows_of
from bench.engine.scheduler import Listener, Runner, Summary
from bench.engine.session import Session, prepare
from bench.plan.plan import Cell
from bench.stages.context import CellContext
from bench.store.cell_folders import Artifacts
from bench.store.results import Store


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    register(monkeypatch)
    data = write_squares(tmp_path / "data")

    def make(out: str = "out", **changes: Any) -> Session:
        return prepare(str(write_suite(tmp_path / "s.yaml", **changes)), (), data, tmp_path / out)

    return make


def made(folder: Path, **changes: Any) -> tuple[Path, Summary]:
    """Run the toy suite in a new folder; return the output folder, to be copied, and what was done."""
    with pytest.MonkeyPatch.context() as patch:
        register(patch)
        suite, data = write_suite(folder / "s.yaml", **changes), write_squares(folder / "data")
        return folder / "out", run(prepare(str(suite), (), data, folder / "out")).summary


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Summary]:
    return made(tmp_path_factory.mktemp("finished"))


@pytest.fixture
def whole(session: Any, finished: tuple[Path, Summary], tmp_path: Path) -> Session:
    """A session whose every cell is done."""
    shutil.copytree(finished[0], tmp_path / "whole")
    s: Session = session("whole")
    return s


WITH_BAD: dict[str, Any] = {"methods": {"none": {}, "toy": {}, "bad": {"use": "toy", "fail_at": 2}}, "ratios": [1.0]}


@pytest.fixture(scope="module")
def with_failure(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Summary]:
    return made(tmp_path_factory.mktemp("failed"), **WITH_BAD)


@pytest.fixture
def failed(session: Any, with_failure: tuple[Path, Summary], tmp_path: Path) -> Session:
    """A session with a method that failed in the middle."""
    shutil.copytree(with_failure[0], tmp_path / "failed")
    s: Session = session("failed", **WITH_BAD)
    return s


def run(session: Session, *listeners: Listener) -> Runner:
    runner = Runner(session.plan.cells, session.env, listeners)
    runner.reuse()
    runner.run(lambda: InProcess(1))
    return runner


def scores(session: Session) -> dict[str, Any]:
    return {r.key: dict(r.metrics) for r in rows_of(session.plan, session.env)}


class Killed(KeyboardInterrupt):
    """No error of a cell: what ends the main process passes through."""


class KillAfter(Listener):
    def __init__(self, cells: int) -> None:
        self.left = cells

    def finished(self, cell: Cell, row: Any) -> None:
        self.left -= 1
        if self.left == 0:
            raise Killed


def test_a_run_ends_with_every_cell_done_and_scored(whole: Session, finished: tuple[Path, Summary]) -> None:
    s, summary = whole, finished[1]
    assert (summary.exit_code, summary.done) == (0, len(s.plan.work))
    rows = rows_of(s.plan, s.env)
    assert {r.status for r in rows} == {"done"}
    evaluated = [r for r in rows if r.stage == "evaluate"]
    assert all(0 <= r.metrics["test/balanced_accuracy"] <= 1 for r in evaluated)
    fit = next(r for r in rows if r.stage == "fit")
    assert 0 < fit.costs["step_s"] <= fit.costs["elapsed_s"]
    assert fit.costs["peak_memory_bytes"] > 1e6
    assert {r.facts["synthetic_images"] for r in rows if r.stage == "classify" and r.ratio == "0"} == {0}
    classify = next(r for r in rows if r.stage == "classify" and r.ratio == "1")
    assert classify.facts["synthetic_images"] == classify.facts["real_images"]


def test_a_second_run_does_nothing(whole: Session) -> None:
    s = whole
    lines = Store(s.env.out).path.read_text()
    again = Runner(s.plan.cells, s.env)
    assert again.reuse() == 0
    assert again.summary.reused == len(s.plan.work)
    assert Store(s.env.out).path.read_text() == lines


def test_killed_three_times_and_resumed_gives_the_numbers_of_an_unbroken_run(session: Any, whole: Session) -> None:
    broken, done = session("broken"), 0
    for more in (1, 2, 5):
        killed = KillAfter(more)
        with pytest.raises(Killed):
            run(broken, killed)
        done += more
        assert killed.left == 0
        again = Runner(broken.plan.cells, broken.env)
        again.reuse()
        assert again.summary.reused == done
    runner = run(broken)
    assert runner.summary.reused == done
    assert scores(broken) == scores(whole)


def test_a_generator_killed_in_the_middle_continues_from_its_checkpoint(
    session: Any, whole: Session, monkeypatch: Any
) -> None:
    broken = session("broken")
    seen, log = [], CellContext.log

    def dying_log(self: CellContext, step: int, total: int, metrics: Any) -> None:
        if "loss" in metrics:
            seen.append(step)
            if len(seen) == 4:
                raise Killed
        log(self, step, total, metrics)

    monkeypatch.setattr(CellContext, "log", dying_log)
    with pytest.raises(Killed):
        run(broken)
    run(broken)
    assert seen[:6] == [1, 2, 3, 4, 4, 5]  # not 1 again: three steps were checkpointed, the fourth was not
    monkeypatch.setattr(CellContext, "log", log)
    assert scores(broken) == scores(whole)
    for s in (whole, broken):
        fit = next(c for c in s.plan.cells if c.stage == "fit")
        history = (Artifacts(s.env.out).folder(*fit.id) / "history.csv").read_text().splitlines()
        assert [line.split(",")[0] for line in history[1:]] == ["1", "2", "3", "4", "5", "6"]


def test_a_failure_is_stored_its_dependants_skipped_and_the_rest_runs(
    failed: Session, with_failure: tuple[Path, Summary]
) -> None:
    s = failed
    assert with_failure[1].exit_code == 1
    rows = rows_of(s.plan, s.env)
    failures = [r for r in rows if r.status == "failed"]
    assert {(r.stage, r.method) for r in failures} == {("fit", "bad")}
    assert "injected failure" in (failures[0].error or "")
    assert "Traceback" in (failures[0].error or "")
    skipped = [r for r in rows if r.status == "skipped"]
    assert {r.method for r in skipped} == {"bad"}
    assert all("fit bad" in (r.error or "") and "injected failure" in (r.error or "") for r in skipped)
    assert all(r.status == "done" for r in rows if r.method != "bad")


def test_a_retry_runs_failures_only_and_from_where_they_stood(failed: Session) -> None:
    s = failed
    (s.env.out / "cells" / "fit" / "mended").touch()
    runner = run(s)
    assert runner.summary.exit_code == 0
    assert runner.summary.done == sum(c.method == "bad" for c in s.plan.work)
    assert {r.status for r in rows_of(s.plan, s.env)} == {"done"}


def test_rows_lost_by_a_kill_come_back_from_the_folders(whole: Session) -> None:
    s = whole
    before = scores(s)
    path = Store(s.env.out).path
    path.write_text(path.read_text()[: len(path.read_text()) // 2])  # half the rows gone, one torn in the middle
    again = Runner(s.plan.cells, s.env)
    assert again.reuse() == 0
    assert scores(s) == before
    assert len(Store(s.env.out).rows()) == len(s.plan.work)


def test_a_deleted_folder_is_made_again(whole: Session) -> None:
    s = whole
    before = scores(s)
    cell = next(c for c in s.plan.cells if c.stage == "classify")
    shutil.rmtree(Artifacts(s.env.out).folder(*cell.id))
    assert [r.status for r in rows_of(s.plan, s.env)].count("missing") == 1
    assert run(s).summary.done == 1
    assert scores(s) == before


def test_images_that_change_under_a_run_stop_its_cells(session: Any, tmp_path: Path, monkeypatch: Any) -> None:
    s = session()
    monkeypatch.setattr("bench.stages.common._INDEXES", {})  # as in a worker process that has read nothing yet
    (tmp_path / "data" / "benign" / "b0_0.png").unlink()
    runner = run(s)
    assert {e.split(":")[0] for e in runner.summary.failed.values()} == {"DataError"}


def test_an_injected_leak_stops_the_cell(whole: Session) -> None:
    s = whole
    artifacts = Artifacts(s.env.out)
    synth = next(c for c in s.plan.cells if c.stage == "synthesize")
    done = artifacts.result(*synth.id)
    with artifacts.work(*synth.id) as partial:  # a generator that tells of a held-out patient, in a whole result
        shutil.copytree(artifacts.folder(*synth.id), partial, dirs_exist_ok=True)
        path = partial / "seen_groups.json"
        held_out = {r.group_id for r in s.plan.index.records} - set(json.loads(path.read_text()))
        path.write_text(json.dumps([*json.loads(path.read_text()), min(held_out)]))
        artifacts.commit(*synth.id, {k: done[k] for k in ("metrics", "costs", "facts", "finished_at")}, synth.upstream)
    for cell in s.plan.cells:
        if cell.stage == "classify" and synth.id in cell.upstream:
            shutil.rmtree(artifacts.folder(*cell.id))
    runner = run(s)
    assert {i[0] for i in runner.summary.failed} == {
        "fidelity",
        "memorised",
        "classify",
    }  # made from another result now
    assert all(e.startswith("LeakageError") for e in runner.summary.failed.values())


def test_worker_processes_give_the_same_numbers(session: Any) -> None:
    from bench.engine.executors.local import Workers

    # the toy method is known to this process only, so the workers get a registered one
    quick = {"methods": {"none": {}, "oversample": {}}, "explain": {"images_per_class": 0}}
    alone, many = session("alone", **quick), session("many", **quick)
    run(alone)
    runner = Runner(many.plan.cells, many.env)
    runner.reuse()
    runner.run(lambda: Workers(2, 1))
    assert runner.summary.exit_code == 0
    assert scores(many) == scores(alone)
