"""The fleets by name: where `bench run --executor NAME` has its workers run, and what their jobs get."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from bench.engine.executors.fleet import Fleet, FleetExecutor, WorkerCommand
from bench.forecast.cost_model import CostModel, Prediction
from bench.plan.plan import Cell
from bench.suite.resources import DEFAULT, Resources

NAMES = ("slurm", "ray")
MINUTES = 60  # time limit of a job unless a cell is predicted to take more than half of it
SPARE, SPARE_GB = 1.5, 2.0  # memory of a job: the highest prediction times SPARE, plus that of the worker itself


@dataclass(frozen=True)
class FleetChoice:
    """The fleet that a user chose: its name, the highest number of workers, the device option and filters of a run."""

    name: str
    workers: int
    device: str
    only: tuple[str, ...] = ()


def make_fleet(name: str, command: WorkerCommand, resources: Resources) -> Fleet:
    """Return the fleet of a name in ``NAMES``, which runs ``command`` in jobs with these resources.

    Raises ``BenchError`` if its commands or packages are not installed.
    """
    if name == "slurm":
        from bench.engine.executors.slurm import SlurmJobs

        return SlurmJobs(command, resources)
    from bench.engine.executors.ray_cluster import RayWorkers

    return RayWorkers(command, resources)


def make_fleet_executor(
    choice: FleetChoice, command: WorkerCommand, cells: Sequence[Cell], resources: Mapping[str, Resources],
    model: CostModel,
) -> FleetExecutor:  # fmt: skip
    """Return the executor of a run with ``resources`` of its suite; stages with equal resources share their workers."""
    groups = group_stages(cells, resources)
    fleets = []
    for stages, asked in groups:
        mine = [model.predict(cell) for cell in cells if cell.stage in stages]
        found = _completed(asked, mine, command.threads, with_memory=not model.on_gpu)
        only_stages = stages if len(groups) > 1 else ()
        made = make_fleet(choice.name, replace(command, stages=only_stages, minutes=found.minutes), found)
        fleets.append((made, only_stages))
    return FleetExecutor(fleets, choice.workers, command.out)


def group_stages(cells: Sequence[Cell], resources: Mapping[str, Resources]) -> list[tuple[tuple[str, ...], Resources]]:
    """Return the stages of the cells by equal resources, in plan order."""
    found: list[tuple[tuple[str, ...], Resources]] = []
    for stage in dict.fromkeys(cell.stage for cell in cells):
        mine = resources.get(stage, Resources()).over(resources.get(DEFAULT, Resources()))
        at = next((i for i, (_, other) in enumerate(found) if other == mine), None)
        if at is None:
            found.append(((stage,), mine))
        else:
            found[at] = ((*found[at][0], stage), mine)
    return found


def _completed(
    asked: Resources, predictions: Sequence[Prediction | None], threads: int, with_memory: bool
) -> Resources:
    """Return resources with a time limit and CPUs; ``with_memory`` also memory, if that of all cells was measured."""
    known = [p for p in predictions if p]
    minutes = asked.minutes or max([MINUTES, *(math.ceil(p.elapsed_s / 30) for p in known)])  # twice the prediction
    memory_gb = asked.memory_gb
    measured = [p.peak_memory_bytes for p in known if p.how == "measured"]
    if with_memory and memory_gb is None and measured and len(measured) == len(predictions):
        memory_gb = math.ceil(max(measured) / 1e9 * SPARE + SPARE_GB)
    return replace(asked, minutes=minutes, cpus=asked.cpus or threads, memory_gb=memory_gb)
