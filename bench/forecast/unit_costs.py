"""Seconds per unit of work in measured cells, stored as sums, so that adding a cell takes constant time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from bench.cost.keys import STEP_S, CostKey, phase_device_s, phase_s, phases_of
from bench.forecast.workload import Workload
from bench.types import ResultRow

WHOLE = "overhead"  # the phase of seconds that belong to no phase


@dataclass(frozen=True)
class _Sample:
    """One measured cell by one clock (wall or device): seconds by phase, and its units of work."""

    work: Workload
    seconds: Mapping[str, float]
    first: bool  # the first of its stage in its process: its overhead includes imports
    first_step_s: float

    @classmethod
    def of(cls, row: ResultRow, work: Workload, clock: CostKey) -> _Sample:
        costs = row.costs
        key = phase_device_s if clock == CostKey.DEVICE_S else phase_s
        seconds = {p: costs[key(p)] for p in phases_of(costs) if key(p) in costs}
        total = costs.get(clock, costs[CostKey.ELAPSED_S])
        first_step_s = costs.get(CostKey.STEP_FIRST_S, 0.0)
        if clock == CostKey.DEVICE_S and costs.get(STEP_S):
            first_step_s *= seconds.get("step", 0.0) / costs[STEP_S]
        seconds[WHOLE] = max(0.0, total - sum(seconds.values()))
        return cls(work, seconds, bool((row.facts.get("work") or {}).get("first")), first_step_s)

    def rate(self, phase: str) -> float:
        """Return the seconds per unit of a phase; for steps without the first block, which includes the warm-up."""
        units, seconds = self.work.of(phase), self.seconds.get(phase, 0.0)
        if phase == "step" and units > self.work.first_units:
            return max(0.0, seconds - self.first_step_s) / (units - self.work.first_units)
        return seconds / units if units else 0.0

    @property
    def warm_up_s(self) -> float:
        """Additional seconds of the first block of steps compared with later ones."""
        return max(0.0, self.first_step_s - self.rate("step") * self.work.first_units)


@dataclass
class _Overheads:
    """Sums over samples: seconds outside all phases, and additional seconds of first steps."""

    count: int = 0
    overhead_s: float = 0.0
    warm_up_s: float = 0.0

    def add(self, sample: _Sample) -> None:
        self.count += 1
        self.overhead_s += sample.seconds[WHOLE]
        self.warm_up_s += sample.warm_up_s


@dataclass
class _Totals:
    """Sums over the samples of one clock.

    ``later`` has the samples that were not the first of their stage in their process: they did not include imports.
    """

    rates: dict[str, float] = field(default_factory=lambda: defaultdict(float))  # by phase, without ``WHOLE``
    every: _Overheads = field(default_factory=_Overheads)
    later: _Overheads = field(default_factory=_Overheads)

    def add(self, sample: _Sample) -> None:
        for phase in sample.seconds.keys() - {WHOLE}:
            self.rates[phase] += sample.rate(phase)
        for overheads in (self.every, *([] if sample.first else [self.later])):
            overheads.add(sample)

    def seconds(self, work: Workload, step_s: float | None, stage: _Totals) -> float:
        """Return the seconds of a workload; ``step_s`` replaces the measured seconds of a step.

        The import time of the first cells of a process is excluded if other cells, if necessary others of the
        ``stage``, show the time without it.
        """
        rates = {phase: total / self.every.count for phase, total in self.rates.items()}
        if step_s is not None and "step" in rates:
            rates["step"] = step_s
        overheads = next((o for o in (self.later, stage.later) if o.count), self.every)
        warm = self.later if self.later.count else self.every
        steps = sum(rate * work.of(phase) for phase, rate in rates.items())
        return steps + overheads.overhead_s / overheads.count + warm.warm_up_s / warm.count


@dataclass
class UnitCosts:
    """Measured cells of one kind, by both clocks."""

    wall: _Totals = field(default_factory=_Totals)
    device: _Totals = field(default_factory=_Totals)
    memory: float = 0.0

    def add(self, wall: _Sample, device: _Sample, memory: float) -> None:
        """Add a finished cell, as ``samples_of`` returns it."""
        self.wall.add(wall)
        self.device.add(device)
        self.memory = max(self.memory, memory)


def samples_of(row: ResultRow, work: Workload) -> tuple[_Sample, _Sample, float]:
    """Return a finished cell by both clocks, wall and device, and its peak memory in bytes."""
    wall, device = (_Sample.of(row, work, clock) for clock in (CostKey.ELAPSED_S, CostKey.DEVICE_S))
    return wall, device, row.costs.get(CostKey.PEAK_MEMORY_BYTES, 0.0)
