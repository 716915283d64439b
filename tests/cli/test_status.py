"""`bench status` and a run's own panel tell of every cell in work: since when, how far, its memory, the time left."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner
from rich.console import Console, RenderableType

from bench.cli import status
from bench.cli.main import main
from bench.cli.status import described, plain, read_status, show_status
from bench.engine.console import ConsoleListener, Detail, plain_console
from bench.engine.progress import wall_left, work_of
from bench.engine.session import Session, prepare
from bench.forecast.cost_model import Prediction, fit_model
from bench.plan.plan import Cell
from bench.stages.context import CellContext
from bench.store.cell_folders import Artifacts
from bench.store.clock import Stamp
from bench.store.heartbeat import LIVE
from bench.store.live import LiveRun, announced, live_runs
from bench.types import ResultRow

RUN = ("ci", 2, 1, "cpu")


def ago(seconds: float) -> Stamp:
    """Return a moment of the past."""
    now = Stamp.now()
    return replace(now, wall_s=now.wall_s - seconds, monotonic_s=now.monotonic_s - seconds)


@pytest.fixture
def still(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both clocks stand still."""
    monkeypatch.setattr(
        "bench.store.clock.time", SimpleNamespace(time=lambda: 1_800_000_000.0, monotonic=lambda: 5000.0)
    )


def cell(name: str, *upstream: Cell) -> Cell:
    return Cell("fit", name, 0, 0, method=name, upstream=tuple(c.id for c in upstream))


def costs(**seconds: float) -> Any:
    """A cost model that knows these cells."""
    known = {("fit", name): Prediction(s, s, 0.0, "measured") for name, s in seconds.items()}
    return SimpleNamespace(predict=lambda c: known.get(c.id))


def tell(artifacts: Artifacts, at: Cell, **facts: Any) -> None:
    """Write a cell's progress as its worker does."""
    folder = artifacts.partial(*at.id)
    folder.mkdir(parents=True, exist_ok=True)
    state = {"pid": 1, "device": "cpu", "elapsed_s": 29.0, "updated": asdict(ago(1)), **facts}
    (folder / "progress.json").write_text(json.dumps(state))


def test_a_cells_own_pace_tells_when_it_ends_and_before_that_like_cells_do(tmp_path: Path, still: None) -> None:
    artifacts, a = Artifacts(tmp_path), cell("a")
    assert work_of(a, artifacts, costs(a=50.0)).elapsed_s is None, "has told nothing yet"
    tell(artifacts, a, peak_memory_bytes=2**30)
    early = work_of(a, artifacts, costs(a=50.0))
    assert (early.elapsed_s, early.left_s, early.step) == (30.0, 20.0, None)
    assert early.columns() == ("", "30 s", "20 s left", "1.0 GiB", "", "")
    assert work_of(a, artifacts, costs()).left_s is None, "nothing is known of it"
    tell(
        artifacts,
        a,
        updated=asdict(ago(0)),
        elapsed_s=60.0,
        step=60,
        total=80,
        metrics={"loss_G": 1.234, "loss_D": 0.5},
    )
    late = work_of(a, artifacts, costs(a=50.0))
    assert late.elapsed_s == 60.0
    assert late.left_s == pytest.approx(20.0), "60 of 80 steps took 60 s"
    assert late.columns() == ("step 60/80", "60 s", "20 s left", "", "", "loss_G 1.23, loss_D 0.5")


def test_the_wall_time_left_counts_jobs_what_is_in_work_and_what_waits_for_it(tmp_path: Path, still: None) -> None:
    a, b = cell("a"), cell("b")
    c = cell("c", a)
    artifacts = Artifacts(tmp_path)
    tell(artifacts, a)
    known = costs(a=40.0, b=8.0, c=7.0)
    work = work_of(a, artifacts, known)  # 10 s left
    assert wall_left([a, b, c], [work], known, 2).seconds == 17.0  # b beside a, then c
    assert wall_left([a, b, c], [work], known, 1).seconds == 25.0
    left = wall_left([a, b, c], [work], costs(a=40.0, b=8.0), 2)
    assert (left.seconds, left.unknown, str(left)) == (10.0, 1, ">10 s")


def test_runs_that_go_on_are_known_and_killed_ones_are_not(tmp_path: Path) -> None:
    with announced(tmp_path, *RUN) as run:
        assert live_runs(tmp_path, "ci") == [run]
        assert live_runs(tmp_path, "tiny") == []
    assert live_runs(tmp_path, "ci") == []
    code = (
        "import os, sys; from pathlib import Path; from bench.store.live import *\n"
        "with announced(Path(sys.argv[1]), 'ci', 2, 1, 'cpu'): os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", code, tmp_path], check=False).returncode == 9
    assert len(list((tmp_path / LIVE).glob("*.json"))) == 1, "nobody cleaned up"
    assert live_runs(tmp_path, "ci") == []
    assert not list((tmp_path / LIVE).glob("*.json"))


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    return prepare(
        "ci", ("dataset.patients=8", "dataset.images_per_patient=2"), None, tmp_path_factory.mktemp("status")
    )


def in_work(session: Session, many: int, stack: ExitStack) -> list[Cell]:
    """Have the first cells claimed and telling of themselves, as workers do, and a run announced."""
    artifacts = Artifacts(session.env.out)
    cells = [c for c in session.plan.work if c.stage == "fit"][:many]
    stack.enter_context(announced(session.env.out, *RUN))
    for c in cells:
        stack.enter_context(artifacts.work(*c.id))
        shown = {"step": 5, "total": 20, "metrics": {"loss_G": 1.5}, "peak_memory_bytes": 3 * 2**30}
        tell(artifacts, c, elapsed_s=30.0, updated=asdict(ago(0)), **shown)
    return cells


def text_of(shown: RenderableType) -> str:
    console = Console(width=200, file=io.StringIO())
    console.print(shown)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_status_of_a_run_that_goes_on(session: Session) -> None:
    with ExitStack() as stack:
        cells = in_work(session, 2, stack)
        state = read_status(session)
    assert [w.cell for w in state.works] == cells
    assert (state.jobs, state.counts["missing"], state.left) == (2, state.cells - 2, state.cells)
    assert state.works[0].left_s == pytest.approx(90, abs=5)
    assert state.peak_memory_bytes == 3 * 2**30
    text = text_of(described(state))
    assert f"{state.cells} cells: 0 done, 2 running, 0 failed, 0 skipped, {state.cells - 2} not started" in text
    assert "2 parallel jobs, 1 thread each, on cpu (process" in text
    line = next(line for line in text.splitlines() if cells[0].title in line)
    assert [word in line for word in ("step 5/20", "30 s", "left", "3.0 GiB", "loss_G 1.5")] == [True] * 5
    assert "time left: >" in text
    shown = json.loads(json.dumps(plain(state)))
    assert (shown["jobs"], shown["left"], shown["runs"][0]["threads"]) == (2, state.cells, 1)
    assert shown["cells_of_unknown_cost"] == state.cells - 2
    first = shown["running"][0]
    assert (first["key"], first["step"], first["metrics"]) == (cells[0].key, 5, {"loss_G": 1.5})
    assert {"elapsed_s", "left_s", "peak_memory_bytes", "device"} <= first.keys()


def test_status_names_the_other_machines_that_work(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    with ExitStack() as stack:
        monkeypatch.setenv("BENCH_HOST", "node7")
        cells = in_work(session, 1, stack)
        monkeypatch.delenv("BENCH_HOST")
        stack.enter_context(announced(session.env.out, "ci", 0, 1, "cpu"))  # `bench run` of a cluster
        state = read_status(session)
    lines = text_of(described(state)).splitlines()
    assert f"on node7, process {os.getpid()}" in next(line for line in lines if cells[0].title in line)
    assert any("2 parallel jobs" in line and f"process {os.getpid()} on node7" in line for line in lines)
    assert any("starts workers and runs no cell itself" in line for line in lines)
    assert state.jobs == 2
    shown = plain(state)["running"][0]
    assert (shown["host"], shown["pid"]) == ("node7", os.getpid())


def test_watching_ends_when_nothing_works_on_the_suite(
    session: Session, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = ExitStack()
    in_work(session, 1, stack)
    monkeypatch.setattr(status.time, "sleep", lambda seconds: stack.close())  # the run ends meanwhile
    show_status(session, as_json=False, watch=True)
    shown = capsys.readouterr().out
    assert shown.index("1 running") < shown.index("0 running")
    assert "no run is active; time left" in shown


def test_watching_and_json_exclude_each_other(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["status", "--suite", "ci", "--watch", "--json", "--out", str(tmp_path)])
    assert result.exit_code == 2
    assert "--watch and --json cannot be combined" in result.output


@pytest.mark.parametrize(("detail", "lines"), [(Detail.PROBLEMS, 0), (Detail.NORMAL, 1), (Detail.ALL, 2)])
def test_detail_selects_the_finished_cells_that_are_printed(
    session: Session, capsys: pytest.CaptureFixture[str], detail: Detail, lines: int
) -> None:
    done = [next(c for c in session.plan.work if c.stage == stage) for stage in ("fit", "fidelity")]
    console = plain_console(detail)
    shown = ConsoleListener(console, Artifacts(session.env.out), done, fit_model(session.plan, session.env.out), 1)
    for at in done:
        shown.finished(at, ResultRow(at.row_key, at.stage, "ci", "phantom", "done", costs={"elapsed_s": 1.0}))
    console.print("a warning", style="yellow")
    found = capsys.readouterr().out.splitlines()
    assert [sum(": done in" in line for line in found), found[-1]] == [lines, "a warning"]


def test_a_runs_own_panel_shows_the_same_facts(session: Session) -> None:
    with ExitStack() as stack:
        cells = in_work(session, 1, stack)
        shown = ConsoleListener(plain_console(), Artifacts(session.env.out), list(session.plan.work), costs(), 2)
        shown.started(cells[0])
        text = text_of(shown._panel())
    assert f"0/{len(session.plan.work)}" in text
    assert all(word in text for word in ("step 5/20", "30 s", "s left", "3.0 GiB", "loss_G 1.5"))


def test_a_clock_that_is_set_back_changes_no_duration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two hours back in the middle of a cell and of a run: -7195 s were stored and shown."""
    context = CellContext(tmp_path, "cpu", 0, None)
    run, wall = LiveRun(*RUN, ago(100), 1, "machine"), time.time
    context.log(1, 20, {"loss": 1.0})
    monkeypatch.setattr(time, "time", lambda: wall() - 7200)
    assert 0 <= context.elapsed_s < 60
    assert 0 <= context.costs()["overhead_s"] < 60
    context.save_checkpoint({})
    resumed = CellContext(tmp_path, "cpu", 0, None)
    resumed.load_checkpoint()
    assert 0 <= resumed.elapsed_s < 60
    assert 100 <= run.elapsed_s < 160
    text = (tmp_path / "progress.json").read_text()
    artifacts, a = Artifacts(tmp_path / "out"), cell("a")
    artifacts.partial(*a.id).mkdir(parents=True)
    (artifacts.partial(*a.id) / "progress.json").write_text(text)
    assert 0 <= (work_of(a, artifacts, costs()).elapsed_s or -1) < 60


def test_a_moment_of_another_machine_is_never_in_the_future() -> None:
    other = replace(ago(10), boot="another machine", monotonic_s=0.0)
    assert 10 <= other.elapsed_s() < 60
    assert replace(other, wall_s=other.wall_s + 7200).elapsed_s() == 0.0
