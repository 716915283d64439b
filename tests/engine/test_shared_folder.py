"""`bench worker` on several machines with one output folder: every cell is done once, with the numbers of one process.

The machines are processes under other host names, which therefore cannot see each other's processes; the clock of one
is ten minutes slow. ``BENCH_TEST_KILLS=20`` runs 200 cells with four workers, of which one is killed so many times.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from toy import write_squares, write_suite

from bench.engine.executors.local import InProcess
from bench.engine.plan_rows import rows_of
from bench.engine.scheduler import Runner
from bench.engine.session import Session, prepare
from bench.engine.stored import keep_config
from bench.store.cell_folders import Artifacts
from bench.store.live import live_cells

KILLS = min(20, int(os.environ.get("BENCH_TEST_KILLS", "0")))  # more do not fit into the run
LEASE_S = 3.0
PATIENCE_S = 600.0
TESTS = Path(__file__).parents[1]
SLOW_CLOCK = "import time; _now = time.time; time.time = lambda: _now() - 600\n"


class Machine:
    """A host name under which workers run."""

    def __init__(self, folder: Path, name: str, slow_clock: bool = False) -> None:
        self.folder, self.log = folder, folder / f"{name}.log"
        paths = [str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])]
        if slow_clock:
            (folder / name).mkdir()
            (folder / name / "sitecustomize.py").write_text(SLOW_CLOCK)
            paths.insert(0, str(folder / name))
        self.env = {k: v for k, v in os.environ.items() if k != "BENCH_IN_PROCESS"}
        self.env |= {"BENCH_HOST": name, "BENCH_LEASE_S": str(LEASE_S), "PYTHONPATH": os.pathsep.join(paths)}

    def work(self, in_process: bool = True) -> subprocess.Popen[bytes]:
        """Start a worker in a process group of its own."""
        env = {**self.env, "BENCH_IN_PROCESS": "1"} if in_process else self.env
        words = ["worker", "--out", "shared", "--device", "cpu", "--jobs", "1"]
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "bench.cli", *words],
                cwd=self.folder, env=env, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip


def suite(folder: Path, **changes: Any) -> tuple[Session, Session]:
    """Return the sessions of a suite in the shared folder and in a folder of one process."""
    write_squares(folder / "data")
    write_suite(folder / "s.yaml", explain={"images_per_class": 0}, ratios=[1.0], **changes)
    shared, alone = (prepare(str(folder / "s.yaml"), (), folder / "data", folder / out) for out in ("shared", "alone"))
    keep_config(shared)
    return shared, alone


def assert_done_once(shared: Session, alone: Session) -> None:
    """Every cell is done, by one row, with the numbers and files of a run of one process."""
    runner = Runner(alone.plan.cells, alone.env)
    runner.reuse()
    assert runner.run(lambda: InProcess(1)).exit_code == 0
    found, expected = (Artifacts(s.env.out) for s in (shared, alone))
    for cell in shared.plan.work:
        assert found.is_done(*cell.id), cell.title
        assert found.content(*cell.id) == expected.content(*cell.id), cell.title
    numbers = [{r.key: repr(sorted(r.metrics.items())) for r in rows_of(s.plan, s.env)} for s in (shared, alone)]
    assert numbers[0] == numbers[1]
    times: dict[str, set[str]] = defaultdict(set)
    for line in (shared.env.out / "results.jsonl").read_text().splitlines():
        row = json.loads(line)
        times[row["key"]].add(row["finished_at"])
        assert row["status"] == "done", row["error"]
    assert {key: len(at) for key, at in times.items()} == {c.row_key: 1 for c in shared.plan.work}
    left = [p.name for p in (shared.env.out / "cells").glob("*/*") if ".partial" in p.name or p.name.startswith(".")]
    assert not left


def logs(folder: Path) -> str:
    return "\n".join(path.read_text() for path in folder.glob("*.log"))


def test_a_killed_machine_s_cell_is_taken_over_by_another_one(tmp_path: Path) -> None:
    methods = {"none": {}, "toy": {"use": "toy:Toy", "steps": 12}}
    shared, alone = suite(tmp_path, methods=methods, classifiers={"small_cnn": {"steps": 4, "batch_size": 8}})
    first, second = Machine(tmp_path, "first", slow_clock=True), Machine(tmp_path, "second")
    killed = first.work()
    end = time.monotonic() + PATIENCE_S
    while not (held := live_cells(shared.env.out)) and time.monotonic() < end:
        time.sleep(0.01)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    assert held, logs(tmp_path)
    workers = [second.work(), first.work()]
    assert [w.wait(PATIENCE_S) for w in workers] == [0, 0], logs(tmp_path)
    assert_done_once(shared, alone)


@pytest.mark.skipif(KILLS == 0, reason="set BENCH_TEST_KILLS=20 for that many random kills of four workers; minutes")
def test_random_kills_of_four_workers_on_two_machines_change_no_number(tmp_path: Path) -> None:
    draw = random.Random(int(os.environ.get("BENCH_TEST_KILLS_SEED", "0")))
    methods = {"none": {}, "classical": {}, "toy": {"use": "toy:Toy", "steps": 200}}
    split = {"folds": 3, "repeats": 8, "validation_fraction": 0.3}
    shared, alone = suite(tmp_path, methods=methods, split=split)
    assert len(shared.plan.work) >= 200
    machines = [Machine(tmp_path, "first"), Machine(tmp_path, "second", slow_clock=True)]
    workers = [m.work(in_process=False) for m in (*machines, *machines)]
    kills = 0
    while kills < KILLS and any(w.poll() is None for w in workers):
        time.sleep(draw.uniform(1.0, 8.0))
        i = draw.randrange(len(workers))
        if workers[i].poll() is None and live_cells(shared.env.out):
            os.killpg(workers[i].pid, signal.SIGKILL)
            workers[i].wait()
            workers[i] = machines[i % 2].work(in_process=False)
            kills += 1
    assert [w.wait(PATIENCE_S) for w in workers] == [0] * len(workers), logs(tmp_path)
    assert kills == KILLS, "the cells were done before"
    assert_done_once(shared, alone)
