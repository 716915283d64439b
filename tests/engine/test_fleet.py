"""Workers elsewhere: when they are started, which cells they take, and when they end."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from toy import write_squares, write_suite

from bench.engine import job_limit
from bench.engine.executors import fleet as fleets
from bench.engine.executors.fleet import FleetError, FleetExecutor, WorkerCommand
from bench.engine.executors.fleets import group_stages
from bench.engine.job_limit import JobLimit
from bench.engine.session import prepare
from bench.errors import BenchError, ConfigError
from bench.forecast.cost_model import Prediction
from bench.plan.plan import Cell
from bench.store.cell_folders import Artifacts
from bench.suite.resources import Resources
from bench.suite.suite import load_suite


class FakeFleet:
    """Counts workers; ``error`` is raised by its next calls."""

    where = "fake workers"

    def __init__(self) -> None:
        self.number, self.started, self.error = 0, [], ""

    def start(self, number: int) -> None:
        self.number += number
        self.started.append(number)

    def alive(self) -> int:
        if self.error:
            raise FleetError(self.error)
        return self.number

    def stop(self) -> None:
        self.number = 0

    def logs(self) -> str:
        return "here.log"


def cells(*keys: str, stage: str = "fit") -> list[Cell]:
    return [Cell(stage, key, 0, 0) for key in keys]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time of a monotonic clock in s, in a list that a test changes."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def look(executor: FleetExecutor, clock: list[float], found: list[Cell], wait_s: float = fleets.TEND_S) -> None:
    clock[0] += wait_s
    executor.tend(found)


def test_as_many_workers_as_cells_up_to_the_cap_and_ended_ones_are_replaced(tmp_path: Path, clock: list[float]) -> None:
    fleet = FakeFleet()
    executor = FleetExecutor([(fleet, ())], 3, tmp_path)
    look(executor, clock, cells("a"))
    look(executor, clock, cells("a", "b", "c", "d"))
    assert fleet.started == [1, 2]
    fleet.number = 1
    look(executor, clock, cells("c", "d"))
    assert fleet.started == [1, 2, 1]
    look(executor, clock, cells("c", "d"), wait_s=0.1)  # too early to look again
    assert fleet.started == [1, 2, 1]


def test_groups_of_stages_share_the_cap(tmp_path: Path, clock: list[float]) -> None:
    gpu, cpu = FakeFleet(), FakeFleet()
    executor = FleetExecutor([(gpu, ("fit",)), (cpu, ("classify",))], 3, tmp_path)
    look(executor, clock, [*cells("a", "b"), *cells("c", "d", stage="classify")])
    assert (gpu.number, cpu.number) == (2, 1)


def test_workers_that_end_without_progress_are_an_error_but_not_while_a_cell_runs(
    tmp_path: Path, clock: list[float]
) -> None:
    fleet = FakeFleet()
    executor = FleetExecutor([(fleet, ())], 1, tmp_path)
    with Artifacts(tmp_path).work("fit", "a"):
        for _ in range(2 * fleets.MAX_IDLE_STARTS):
            look(executor, clock, cells("a"))
            fleet.number = 0
    assert len(fleet.started) == fleets.MAX_IDLE_STARTS
    with pytest.raises(BenchError, match=r"fake workers ended 5 times without .* see here.log"):
        look(executor, clock, cells("a"))


def test_a_training_that_gets_further_in_each_job_is_progress(tmp_path: Path, clock: list[float]) -> None:
    fleet = FakeFleet()
    executor = FleetExecutor([(fleet, ())], 1, tmp_path)
    for step in range(1, 4 * fleets.MAX_IDLE_STARTS):
        with Artifacts(tmp_path).work("fit", "a") as partial:
            (partial / "progress.json").write_text(f'{{"step": {step}}}')
        look(executor, clock, cells("a"))
        fleet.number = 0
    assert len(fleet.started) == step


def test_a_batch_system_may_fail_for_a_while_but_not_at_first(tmp_path: Path, clock: list[float]) -> None:
    fleet = FakeFleet()
    fleet.error = "Socket timed out"
    with pytest.raises(FleetError, match="Socket timed out"):
        look(FleetExecutor([(fleet, ())], 1, tmp_path), clock, cells("a"))
    fleet.error = ""
    executor = FleetExecutor([(fleet, ())], 1, tmp_path)
    look(executor, clock, cells("a"))
    fleet.error = "Socket timed out"
    look(executor, clock, cells("a"), fleets.PATIENCE_S)
    with pytest.raises(FleetError):
        look(executor, clock, cells("a"))


def limit(minutes: float | None, stages: tuple[str, ...] = (), **predicted_s: float) -> JobLimit:
    found = JobLimit(stages, minutes)
    found.predict = lambda cell: (  # type: ignore[method-assign]
        Prediction(predicted_s[cell.key], 0.0, 0.0, "measured") if cell.key in predicted_s else None
    )
    return found


def test_a_worker_starts_no_cell_that_takes_longer_than_its_job(clock: list[float]) -> None:
    job = limit(60, short=600, long=7200)
    # No job is long enough for `long`: it is resumed in the next one
    short, long, unknown = cells("short", "long", "unknown")
    assert all(map(job.takes, (short, long, unknown)))
    job.started(short)
    assert [job.takes(cell) for cell in (short, unknown)] == [True, True]
    assert not job.leaves()
    assert not job.takes(long)
    assert job.leaves()  # for a new job
    clock[0] += 3001
    assert not job.takes(short)


def test_a_worker_takes_its_stages_only_and_ends_when_idle(clock: list[float]) -> None:
    job = limit(60, ("fit",))
    assert [job.takes(cell) for cell in (*cells("a"), *cells("a", stage="classify"))] == [True, False]
    assert not job.leaves()
    clock[0] += job_limit.IDLE_S + 1
    assert job.leaves()
    assert not limit(None, ("fit",)).leaves()


def test_stages_with_equal_resources_share_workers() -> None:
    found = group_stages(
        [*cells("a"), *cells("b", stage="classify"), *cells("c", stage="evaluate")],
        {
            "default": Resources(minutes=30, slurm={"account": "x"}),
            "fit": Resources(gpus=1, slurm={"partition": "gpu"}),
        },
    )
    assert found == [
        (("fit",), Resources(minutes=30, gpus=1, slurm={"account": "x", "partition": "gpu"})),
        (("classify", "evaluate"), Resources(minutes=30, slurm={"account": "x"})),
    ]


def test_the_command_of_a_worker(tmp_path: Path) -> None:
    words = WorkerCommand(tmp_path, "s", "cpu", 2, ("fold=0", "stage=fit"), ("split", "fit"), 30).words
    given = "--device cpu --threads 2 --only fold=0 --only stage=fit --stages split,fit --minutes 30"
    assert " ".join(words).endswith(f"worker --out {tmp_path} --name s {given} --jobs 1 --no-retry")


def test_resources_change_no_key(tmp_path: Path) -> None:
    write_squares(tmp_path / "data")
    keys = []
    for changes in ({}, {"resources": {"default": {"minutes": 30, "cpus": 8}, "fit": {"gpus": 1}}}):
        write_suite(tmp_path / "s.yaml", methods={"none": {}}, **changes)
        plan = prepare(str(tmp_path / "s.yaml"), (), tmp_path / "data", tmp_path / "out").plan
        keys.append([cell.id for cell in plan.cells])
    assert keys[0] == keys[1]


@pytest.mark.parametrize(
    ("resources", "message"),
    [
        ({"fit": {"minutes": 0}}, "resources: minutes: got 0, expected a number above 0"),
        ({"fit": {"gpus": -1}}, "gpus: got -1"),
        ({"fit": {"minute": 5}}, "resources.fit: unknown key 'minute'.*minutes"),
        ({"default": {"slurm": {"time": 5}}}, "slurm.time: expected an option of sbatch"),
        ({"fits": {"cpus": 1}}, "resources.fits: no stage of a plan.*fit"),
    ],
)
def test_mistakes_in_resources_are_named(tmp_path: Path, resources: Any, message: str) -> None:
    write_suite(tmp_path / "s.yaml", methods={"none": {}}, resources=resources)
    write_squares(tmp_path / "data")
    with pytest.raises(ConfigError, match=f"(?s){message}"):
        load_suite(str(tmp_path / "s.yaml")) and prepare(
            str(tmp_path / "s.yaml"), (), tmp_path / "data", tmp_path / "out"
        )
