"""`bench worker` on several machines with one output folder: every cell is done once, with the numbers of one process.

The machines are processes under other host names, which therefore cannot see each other's processes; the clock of one
is ten minutes slow. ``BENCH_TEST_KILLS=20`` runs 200 cells with four workers, of which one is killed so many times.
"""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from forked import forked_context
from toy import write_squares, write_suite

from bench.cli.main import main
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
SLOW_S = 600.0


class Machine:
    """A host name under which workers run."""

    def __init__(self, folder: Path, name: str, slow_clock: bool = False) -> None:
        self.folder, self.log, self.slow_s = folder, folder / f"{name}.log", SLOW_S if slow_clock else 0.0
        self.env = {"BENCH_HOST": name, "BENCH_LEASE_S": str(LEASE_S)}

    def work(self, in_process: bool = True) -> Any:
        """Start a worker in a process group of its own, forked from a process that has torch."""
        env = self.env | {"BENCH_IN_PROCESS": "1" if in_process else "0"}
        process = CONTEXT.Process(_work, (self.folder, env, self.slow_s, self.log))
        process.start()
        return process


CONTEXT = forked_context()


def _work(folder: Path, env: dict[str, str], slow_s: float, log: Path) -> None:
    """Be `bench worker` in another terminal, on a machine with its own name and clock."""
    os.setsid()
    os.chdir(folder)
    os.environ.update(env)
    if slow_s:
        now = time.time
        time.time = lambda: now() - slow_s
    with log.open("ab") as f:
        for descriptor in (1, 2):
            os.dup2(f.fileno(), descriptor)
    main(["worker", "--out", "shared", "--device", "cpu", "--jobs", "1"], prog_name="bench")


def ended(process: Any) -> int | None:
    """Return the exit code of a worker when it has ended."""
    process.join(PATIENCE_S)
    code: int | None = process.exitcode
    return code


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
    killed.join()
    assert held, logs(tmp_path)
    workers = [second.work(), first.work()]
    assert [ended(w) for w in workers] == [0, 0], logs(tmp_path)
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
    while kills < KILLS and any(w.is_alive() for w in workers):
        time.sleep(draw.uniform(1.0, 8.0))
        i = draw.randrange(len(workers))
        if workers[i].is_alive() and live_cells(shared.env.out):
            os.killpg(workers[i].pid, signal.SIGKILL)
            workers[i].join()
            workers[i] = machines[i % 2].work(in_process=False)
            kills += 1
    assert [ended(w) for w in workers] == [0] * len(workers), logs(tmp_path)
    assert kills == KILLS, "the cells were done before"
    assert_done_once(shared, alone)
