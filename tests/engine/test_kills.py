"""`kill -9` of a run, wherever it is: predictions, metrics, store and MLflow points are those of an undisturbed run.

In CI (``BENCH_TEST_SLOW=1``) three kills: of the main process while a generator trains, of a worker, and of the whole
process group while the report and MLflow are written. ``BENCH_TEST_KILLS=30`` adds so many at random moments of
`bench run --suite ci` (``BENCH_TEST_KILLS_SEED`` draws others).
"""

from __future__ import annotations

import math
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from click.testing import CliRunner
from toy import write_squares, write_suite

from bench.cli.main import main
from bench.engine.plan_rows import rows_of
from bench.engine.session import Session, prepare
from bench.store.cell_folders import Artifacts
from bench.store.results import Store

KILLS = int(os.environ.get("BENCH_TEST_KILLS", "0"))
SEED = int(os.environ.get("BENCH_TEST_KILLS_SEED", "0"))
PATIENCE_S = 300.0
GENERATOR = {"steps": 24, "filters": 4, "blocks": 1, "disc_filters": 4, "log_every": 1, "checkpoint_every": 4}
VARY = ("cost/", "system/")  # metrics of what a run took


class Run:
    """`bench run` in a process group of its own, to be killed."""

    def __init__(self, folder: Path, words: list[str]) -> None:
        env = {k: v for k, v in os.environ.items() if k != "BENCH_IN_PROCESS"}
        self.log = folder / "log.txt"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "bench.cli", "run", "--device", "cpu", *words],
                cwd=folder, env=env, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def workers(self) -> list[psutil.Process]:
        """Return the processes that cells run in."""
        try:
            children = psutil.Process(self.process.pid).children()
            return [p for p in children if any("spawn_main" in word for word in p.cmdline())]
        except psutil.Error:
            return []

    def kill(self, what: str) -> None:
        """Kill the main process, a worker, or all of them at once."""
        if what == "group":
            os.killpg(self.process.pid, signal.SIGKILL)
        elif what == "main":
            self.process.kill()
        elif workers := self.workers():
            workers[0].kill()
        if what != "worker":
            self.process.wait(60)

    def wait_for(self, folder: Path, pattern: str) -> None:
        """Wait until a file appears, or the run ends."""
        end = time.monotonic() + PATIENCE_S
        while not any(folder.glob(pattern)) and self.process.poll() is None and time.monotonic() < end:
            time.sleep(0.02)
        assert any(folder.glob(pattern)), self.log.read_text()

    def ended(self) -> int:
        return self.process.wait(PATIENCE_S)


def mlflow_points(out: Path) -> dict[str, Any]:
    """Return every metric point of every live MLflow run; of costs and machine use the names only.

    The time in the name of the suite's run is left out.
    """

    def untimed(rows: list[Any]) -> list[Any]:
        return sorted((re.sub(r" [\d-]{10} \d\d:\d\d$", "", name), *rest) for name, *rest in rows)

    with sqlite3.connect(f"file:{out / 'mlflow.db'}?mode=ro", uri=True) as db:
        rows = db.execute(
            "SELECT r.name, m.key, m.step, m.value, m.is_nan FROM metrics m JOIN runs r USING (run_uuid) "
            "WHERE r.lifecycle_stage = 'active'"
        ).fetchall()
        runs = db.execute("SELECT name, status FROM runs WHERE lifecycle_stage = 'active'").fetchall()
        params = db.execute("SELECT r.name, p.key, p.value FROM params p JOIN runs r USING (run_uuid)").fetchall()
    points = [row for row in rows if not row[1].startswith(VARY)]
    return {"runs": untimed(runs), "params": untimed(params), "points": untimed(points)}


def all_of(session: Session, cells: list[Any]) -> dict[str, Any]:
    """Return what must not depend on how often a run was killed."""
    out, wanted = session.env.out, {c.row_key for c in cells}
    rows = {r.key: r for r in rows_of(session.plan, session.env) if r.key in wanted}
    assert {r.status for r in rows.values()} == {"done"}
    stored = Store(out).rows()
    artifacts = Artifacts(out)
    return {
        "metrics": {key: _comparable(r.metrics) for key, r in rows.items()},
        "store": {key: (stored[key].status, _comparable(stored[key].metrics)) for key in sorted(wanted)},
        "files": {c.row_key: artifacts.content(*c.id) for c in cells},  # predictions.csv among them
        "mlflow": mlflow_points(out),
    }


def _comparable(metrics: Any) -> dict[str, float | str]:
    return {k: "nan" if math.isnan(v) else v for k, v in metrics.items()}


def assert_nothing_temporary(out: Path) -> None:
    names = [p.relative_to(out).as_posix() for p in out.rglob("*") if "cache" not in p.relative_to(out).parts]
    assert not [n for n in names if ".tmp" in n or ".partial" in n or n.endswith(("checkpoint.pt", "progress.json"))]


@pytest.mark.slow
def test_three_kills_change_no_number(tmp_path: Path) -> None:
    write_squares(tmp_path / "data")
    changes: Any = {"methods": {"none": {}, "cyclegan": GENERATOR}, "image_size_px": 32, "ratios": [1.0]}
    write_suite(tmp_path / "s.yaml", explain={"images_per_class": 0}, **changes)
    words = ["--suite", "s.yaml", "--data", "data", "--only", "fold=0", "--jobs", "1", "--out"]
    cells = tmp_path / "killed" / "cells"
    run = Run(tmp_path, [*words, "killed"])
    run.wait_for(cells, "fit/*.partial-*/checkpoint.pt")
    run.kill("main")
    run = Run(tmp_path, [*words, "killed"])
    run.wait_for(cells, "synthesize/*.partial-*")
    run.kill("worker")
    run.wait_for(tmp_path / "killed", "reports/s/*.md")
    run.kill("group")
    run = Run(tmp_path, [*words, "killed"])
    assert run.ended() == 0, run.log.read_text()
    where = ["--suite", str(tmp_path / "s.yaml"), "--data", str(tmp_path / "data"), "--only", "fold=0", "--jobs", "1"]
    whole = CliRunner().invoke(main, ["run", *where, "--device", "cpu", "--out", str(tmp_path / "whole")])
    assert whole.exit_code == 0, whole.output
    _assert_equal(tmp_path / "killed", tmp_path / "whole", str(tmp_path / "s.yaml"), tmp_path / "data", 0)


@pytest.mark.skipif(KILLS == 0, reason="set BENCH_TEST_KILLS=30 for that many random kills; minutes each")
def test_random_kills_change_no_number(tmp_path: Path) -> None:
    draw = random.Random(SEED)
    words = ["--suite", "ci", "--jobs", "2", "--out"]
    left, longest_s = KILLS, 60.0
    while left > 0:
        run, lives = Run(tmp_path, [*words, "killed"]), True
        while lives and left > 0 and run.process.poll() is None:
            time.sleep(draw.uniform(2.0, longest_s))
            what = draw.choice(["main", "group", "worker"])
            if run.process.poll() is None:
                run.kill(what)
                left, lives = left - 1, what == "worker"
        run.ended()
        if not lives:
            continue
        longest_s /= 2  # the run came to its end: kill it sooner, in its report too
        for done in (tmp_path / "killed").glob("reports/*/.state"):
            done.unlink()
    run = Run(tmp_path, [*words, "killed"])
    assert run.ended() == 0, run.log.read_text()
    assert Run(tmp_path, [*words, "whole"]).ended() == 0
    _assert_equal(tmp_path / "killed", tmp_path / "whole", "ci", None, None)


def _assert_equal(killed: Path, whole: Path, suite: str, data: Path | None, fold: int | None) -> None:
    sessions = [prepare(suite, (), data, out) for out in (killed, whole)]
    cells = [[c for c in s.plan.work if fold is None or c.fold == fold] for s in sessions]
    found, expected = (all_of(s, c) for s, c in zip(sessions, cells, strict=True))
    for part in expected:
        assert found[part] == expected[part], part
    assert_nothing_temporary(killed)
