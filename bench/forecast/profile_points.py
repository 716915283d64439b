"""The combinations that ``bench profile --suite`` measures, and their measurement in a separate process."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench.cost.energy import EnergyMeter
from bench.cost.keys import CostKey
from bench.cost.timers import PeakMemory
from bench.forecast.probes import (
    Probe,
    classifier_probe,
    generator_probe,
    inference_probe,
    sampling_probe,
)
from bench.forecast.profiles import Point
from bench.forecast.workload import default_batch
from bench.suite.suite import PluginSpec, Suite

CALLS = 9  # maximum number of calls of each combination; the median is used
TRAINING, SAMPLING, INFERENCE = "training", "sampling", "inference"


@dataclass(frozen=True)
class Subject:
    """What is measured: a generative method, or a classifier (with an online method if given)."""

    what: str
    spec: PluginSpec
    online: PluginSpec | None = None

    @property
    def name(self) -> str:
        """The name in tables."""
        return f"{self.spec.name}, {self.online.name}" if self.online else self.spec.name

    @property
    def batch(self) -> int:
        """Its default batch size; 0 for sampling, and for a method whose config has none."""
        return 0 if self.what == SAMPLING else default_batch(self.spec.config)

    def probe(self, size_px: int, batch: int, device: str, weights: Path | None) -> Probe | None:
        """Return its probe."""
        if self.what == SAMPLING:
            return sampling_probe(self.spec, size_px, device)
        if self.what == INFERENCE:
            return inference_probe(self.spec, size_px, batch, device, weights)
        if self.spec.kind == "generative":
            return generator_probe(self.spec, size_px, batch, device)
        return classifier_probe(self.spec, self.online, size_px, batch, device, weights)


def subjects(suite: Suite, methods: Sequence[str]) -> Iterator[Subject]:
    """Yield the trainings, samplings and predictions of a suite; ``methods`` selects some, none selects all."""
    chosen = [m for m in suite.methods if not methods or m.name in methods]
    generative = [m for m in chosen if m.kind == "generative"]
    online = [m for m in chosen if m.kind == "online"]
    yield from (Subject(TRAINING, m) for m in generative)
    yield from (Subject(TRAINING, c, m) for c in suite.classifiers for m in online)
    yield from (Subject(SAMPLING, m) for m in generative)
    if not methods or online:
        yield from (Subject(INFERENCE, c) for c in suite.classifiers)


def measure(
    subject: Subject, size_px: int, batch: int, device: str, weights: Path | None, calls: int, limit_s: float,
    whole: bool,
) -> Point:  # fmt: skip
    """Measure one combination in this process: seconds, peak memory, energy; with ``whole`` also FLOPs and shares.

    A method without a measurable training step gets a point that says so.
    """
    point = Point(subject.what, subject.name, size_px, batch)
    probe = subject.probe(size_px, batch, device, weights)
    if probe is None:
        return replace(point, problem="has no training step that can be measured")
    energy = EnergyMeter(device)
    with PeakMemory(device) as memory:
        seconds = probe.seconds(calls, limit_s, energy)
    joules = energy.costs().get(CostKey.ENERGY_J)
    peaks = memory.costs()
    return replace(
        point,
        seconds=statistics.median(seconds),
        images=probe.images,
        calls=len(seconds),
        dtype=probe.dtype,
        energy_j=None if joules is None else joules / len(seconds),
        peak_memory_bytes=peaks[CostKey.PEAK_MEMORY_BYTES],
        peak_reserved_bytes=peaks.get(CostKey.PEAK_RESERVED_BYTES),
        flops=probe.flops() if whole and probe.flops else None,
        shares=dict(probe.shares()) if whole and probe.shares else {},
    )
