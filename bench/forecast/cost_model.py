"""Prediction of a plan's costs: a model of cells' seconds and memory, fitted to measurements on this machine.

A cell's seconds are the sum over its phases, each proportional to its units of work (``bench.forecast.workload``). The
seconds per unit are the mean over measured cells of the same shape: finished ones, or else those of a rehearsal
(``bench profile --suite``). If no cell of that shape was measured, they are *guessed* from all cells of the stage at
the same image size; without these, the cell has no prediction.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from bench.cost.host import describe_host, versions
from bench.cost.keys import CostKey
from bench.forecast.profiles import read_profiles
from bench.forecast.unit_costs import UnitCosts, samples_of
from bench.forecast.workload import Workload, workloads
from bench.plan.plan import Cell, Plan
from bench.store.results import Store
from bench.types import ResultRow

How = Literal["measured", "guessed"]


@dataclass(frozen=True)
class Prediction:
    """A cell's predicted wall seconds, device seconds and peak memory, and the basis of the prediction."""

    elapsed_s: float
    device_s: float
    peak_memory_bytes: float
    how: How

    def costs(self) -> dict[str, float]:
        """Return it as costs of its row."""
        return {
            CostKey.PREDICTED_ELAPSED_S: float(self.elapsed_s),
            CostKey.PREDICTED_DEVICE_S: float(self.device_s),
            CostKey.PREDICTED_PEAK_MEMORY_BYTES: float(self.peak_memory_bytes),
            CostKey.PREDICTED_BY_GUESS: float(self.how == "guessed"),
        }


NOTHING = Prediction(0.0, 0.0, 0.0, "guessed")


@dataclass(frozen=True)
class Estimate:
    """The sum over cells: seconds without parallel jobs, device seconds, the highest memory, number of known cells."""

    known_s: float = 0.0
    device_s: float = 0.0
    peak_memory_bytes: float = 0.0
    measured: int = 0
    guessed: int = 0
    unknown: int = 0


class CostModel:
    """Fitted to rows; ``work`` gives the workloads of the cells to predict, by the key of their row.

    ``rehearsed`` are rows of few steps, used if there are no others; ``step_s`` has the seconds of a step by shape
    where those of a rehearsal are not representative (on CUDA a long training runs compiled or recorded, a short one
    does not). ``startup_s`` is the time of a run before its first cell; ``on_gpu`` says what it was measured on.
    """

    def __init__(
        self, work: Mapping[str, Workload], rows: Iterable[ResultRow] = (), rehearsed: Iterable[ResultRow] = (),
        startup_s: float = 0.0, step_s: Mapping[str, float] | None = None, on_gpu: bool = False,
    ) -> None:  # fmt: skip
        self._work, self.startup_s, self._step_s, self.on_gpu = work, startup_s, step_s or {}, on_gpu
        self._shapes: dict[str, UnitCosts] = defaultdict(UnitCosts)
        self._rehearsed: dict[str, UnitCosts] = defaultdict(UnitCosts)
        self._stages: dict[tuple[str, int], UnitCosts] = defaultdict(UnitCosts)  # by stage and image side
        for row in rows:
            self.add(row)
        for row in rehearsed:
            self._learn(row, self._rehearsed)

    def add(self, row: ResultRow) -> None:
        """Add a row, if it is finished."""
        self._learn(row, self._shapes)

    def _learn(self, row: ResultRow, into: dict[str, UnitCosts]) -> None:
        work = Workload.read(row.facts.get("work")) or self._work.get(row.key)
        if row.status != "done" or CostKey.ELAPSED_S not in row.costs or work is None:
            return
        found = samples_of(row, work)
        into[work.shape].add(*found)
        self._stages[row.stage, work.size_px].add(*found)

    def predict(self, cell: Cell) -> Prediction | None:
        """Return the predicted costs of a cell, None when nothing of its stage and image size was measured."""
        work = self._work.get(cell.row_key)
        if work is None:
            return None
        alike = self._shapes.get(work.shape) or self._rehearsed.get(work.shape)
        stage = self._stages.get((cell.stage, work.size_px))
        found = alike or stage
        if found is None:
            return None
        step_s = self._step_s.get(work.shape) if work.shape not in self._shapes else None
        others = stage or UnitCosts()
        return Prediction(
            elapsed_s=found.wall.seconds(work, step_s, others.wall),
            device_s=found.device.seconds(work, step_s, others.device),
            peak_memory_bytes=found.memory,
            how="measured" if alike else "guessed",
        )

    def estimate(self, cells: Iterable[Cell]) -> Estimate:
        """Add up the cells."""
        return total([self.predict(c) for c in cells])


def total(predictions: Sequence[Prediction | None]) -> Estimate:
    """Add up the predictions of cells; None stands for a cell without one."""
    known = [p for p in predictions if p]
    guessed = sum(p.how == "guessed" for p in known)
    return Estimate(
        known_s=sum(p.elapsed_s for p in known),
        device_s=sum(p.device_s for p in known),
        peak_memory_bytes=max((p.peak_memory_bytes for p in known), default=0.0),
        measured=len(known) - guessed,
        guessed=guessed,
        unknown=len(predictions) - len(known),
    )


def fit_model(
    plan: Plan, out: Path, more: Iterable[ResultRow] = (), stored: Mapping[str, ResultRow] | None = None
) -> CostModel:
    """Return the model from measurements on this machine with this torch, in an output folder and in ``more`` rows.

    ``stored`` are the rows of the folder's store, read from it if None. Cells that ran on a GPU here are used if there
    are any, else those that ran on the processor.
    """
    stored = Store(out).rows() if stored is None else stored
    profiles = [p for p in read_profiles(out) if _here(p.host, p.versions)]
    rows = [r for r in (*stored.values(), *more) if _here(r.facts.get("host"), r.facts.get("versions"))]
    rehearsed = [r for p in profiles for r in p.rehearsal]
    on_gpu = any(_on_gpu(r) for r in (*rows, *rehearsed))
    if on_gpu:
        rows, rehearsed = ([r for r in found if _on_gpu(r)] for found in (rows, rehearsed))
        profiles = [p for p in profiles if p.device.startswith("cuda")]
    startup_s = profiles[-1].startup_s if profiles else 0.0
    step_s = {shape: s for p in profiles for shape, s in p.step_s.items()}
    work = workloads(plan)
    model = CostModel(work, (), rehearsed, startup_s, step_s, on_gpu)
    for row in rows:
        model.add(row)
    return model


def _here(host: str | None, made_with: Mapping[str, str] | None) -> bool:
    """Return whether a row was measured on this machine with this torch; True if it does not say."""
    torch = (made_with or {}).get("torch", versions()["torch"])
    return (host is None or host.endswith(describe_host("cpu"))) and torch == versions()["torch"]


def _on_gpu(row: ResultRow) -> bool:
    return "host" in row.facts and row.facts["host"] != describe_host("cpu")


@dataclass(frozen=True)
class Schedule:
    """Predicted course of a run: wall seconds from first to last cell, and memory of all cells that run in parallel."""

    wall_s: float = 0.0
    peak_memory_bytes: float = 0.0


@dataclass(order=True)
class _Running:
    ends: float
    memory: float = field(compare=False)
    cell: Cell = field(compare=False)


def schedule(cells: Sequence[Cell], predictions: Mapping[tuple[str, str], Prediction], jobs: int) -> Schedule:
    """Simulate a run: each cell starts as soon as its inputs are done and one of ``jobs`` slots is free, in plan order.

    Upstream cells that are not among ``cells`` count as done; cells without a prediction take no time.
    """
    included = {c.id for c in cells}
    needs = [{u for u in c.upstream if u in included} for c in cells]
    needed_by: dict[tuple[str, str], list[int]] = defaultdict(list)
    for i, ups in enumerate(needs):
        for up in ups:
            needed_by[up].append(i)
    ready = [i for i, ups in enumerate(needs) if not ups]  # a heap: plan order
    running: list[_Running] = []
    now = peak = 0.0
    while ready or running:
        while ready and len(running) < jobs:
            cell = cells[heapq.heappop(ready)]
            p = predictions.get(cell.id) or NOTHING
            heapq.heappush(running, _Running(now + p.elapsed_s, p.peak_memory_bytes, cell))
        peak = max(peak, sum(r.memory for r in running))
        ended = heapq.heappop(running)
        now = ended.ends
        for i in needed_by.pop(ended.cell.id, ()):
            needs[i].discard(ended.cell.id)
            if not needs[i]:
                heapq.heappush(ready, i)
    return Schedule(now, peak)


def duration(seconds: float) -> str:
    """Return a duration as text: '42 s', '3 min 20 s', '5 h 12 min'."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"
