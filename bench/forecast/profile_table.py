"""Costs of a suite's trainings and predictions by image and batch size, and the largest batches that fit."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench.cost.sandbox import Outcome, Sandbox
from bench.cost.system_memory import available_bytes
from bench.errors import ConfigError, nearest
from bench.files import atomic_path
from bench.forecast.batches import largest_batch
from bench.forecast.profile_points import CALLS, SAMPLING, Subject, measure, subjects
from bench.forecast.profiles import Point
from bench.forecast.step_profile import measured_peak
from bench.store.csv_cells import DictWriter
from bench.suite.suite import Suite

MAX = "max"
STEP_LIMIT_S = 60.0  # a combination that takes longer to measure is skipped
UNITS = {"GB": 1e9, "GIB": 2**30, "MB": 1e6, "MIB": 2**20}


@dataclass
class Table:
    """Measures a suite's combinations one by one; ``limit_s`` is for all of them.

    ``batches`` are numbers or 'max', none for each subject's default; ``show`` is called with every point.
    """

    suite: Suite
    device: str
    threads: int
    sizes: Sequence[int]
    batches: Sequence[int | str] = ()
    methods: Sequence[str] = ()
    weights: Path | None = None
    budget_bytes: float | None = None
    limit_s: float = float("inf")
    show: Callable[[Point], None] = lambda _: None
    points: list[Point] = field(default_factory=list)
    _peaks: dict[str, float] = field(default_factory=dict)
    _started: float = field(default_factory=time.monotonic)

    def run(self) -> list[Point]:
        """Return a point for every combination, measured or with the reason why not."""
        known = [m.name for m in self.suite.methods]
        for name in self.methods:
            if name not in known:
                raise ConfigError(f"--method {name!r} is not in suite {self.suite.name}; {nearest(name, known)}")
        with Sandbox(self.device, self.threads, self.budget_bytes) as sandbox:
            for subject in subjects(self.suite, self.methods):
                for size_px in self.sizes:
                    self._measure(sandbox, subject, size_px)
        return self.points

    def _measure(self, sandbox: Sandbox, subject: Subject, size_px: int) -> None:
        """Measure a subject at a size: at each requested batch size, and at the largest that fits."""
        numbers = [b for b in self.batches if isinstance(b, int)]
        first: Point | None = None
        peaks: dict[int, float] = {}
        for batch in [0] if subject.what == SAMPLING else numbers or [subject.batch]:
            point = self._point(sandbox, subject, size_px, batch, first)
            self._add(point)
            first = first or (point if point.flops else None)
            if point.peak_memory_bytes is not None:
                peaks[batch] = point.peak_memory_bytes
        if subject.what == SAMPLING or MAX not in self.batches or not peaks:
            return
        self._largest(sandbox, subject, size_px, peaks, first)

    def _largest(
        self, sandbox: Sandbox, subject: Subject, size_px: int, peaks: dict[int, float], first: Point | None
    ) -> None:
        """Search the largest batch that fits; store it and the one that does not as points."""
        tried: dict[int, Point] = {}

        def peak_of(batch: int) -> float | None:
            point = tried[batch] = self._point(sandbox, subject, size_px, batch, first, calls=2)
            if point.problem and not point.problem.startswith("does not fit"):
                raise TimeoutError(point.problem)
            return point.peak_memory_bytes

        found = largest_batch(peak_of, self.budget_bytes or _memory(self.device), peaks)
        kept = [b for b in (found.largest, found.refused) if b in tried]
        kept += [b for b, p in tried.items() if p.problem and b not in kept and found.stopped]
        for batch in kept:
            self._add(tried[batch])

    def _point(
        self, sandbox: Sandbox, subject: Subject, size_px: int, batch: int, first: Point | None, calls: int = CALLS
    ) -> Point:
        """Measure one combination; FLOPs are counted at the first batch size and grow in proportion."""
        empty = Point(subject.what, subject.name, size_px, batch)
        left_s = self.limit_s - (time.monotonic() - self._started)
        if left_s <= 0:
            return replace(empty, problem="not measured: out of time")
        seconds = 1.0 if calls == CALLS else 0.5
        arguments = (subject, size_px, batch, self.device, self.weights, calls, seconds, first is None)
        outcome = sandbox.call(measure, *arguments, limit_s=min(STEP_LIMIT_S, left_s))
        if outcome.kind != "done":
            return replace(empty, problem=self._problem(outcome))
        point: Point = outcome.value
        if first and first.flops and first.batch:
            point = replace(point, flops=first.flops * batch // first.batch, shares=first.shares)
        return replace(point, peak_flops_per_s=self._peak(sandbox, point.dtype) if point.flops else None)

    def _problem(self, outcome: Outcome) -> str:
        if outcome.kind == "memory":
            return f"does not fit in {size_text(self.budget_bytes or _memory(self.device))}"
        return f"not measured: {outcome.text}"

    def _peak(self, sandbox: Sandbox, dtype: str) -> float | None:
        if dtype not in self._peaks:
            outcome = sandbox.call(measured_peak, self.device, dtype)
            self._peaks[dtype] = outcome.value if outcome.kind == "done" else 0.0
        return self._peaks[dtype] or None

    def _add(self, point: Point) -> None:
        self.points.append(point)
        self.show(point)


@dataclass(frozen=True)
class Room:
    """Batch sizes of a subject at a size: the largest that fits (measured), its peak, and the next that does not."""

    name: str
    what: str
    image_size_px: int
    largest: int
    peak_bytes: float
    refused: int | None
    note: str = ""


def rooms(table: Table) -> list[Room]:
    """Return the largest batch that fits the table's budget, for all trainings.

    Two small batches are measured, a line through them predicts the largest, and a measurement there confirms it.
    """
    found = []
    with Sandbox(table.device, table.threads, table.budget_bytes) as sandbox:
        for subject in (s for s in subjects(table.suite, table.methods) if s.what == "training"):
            for size_px in table.sizes:
                found.append(_room(table, sandbox, subject, size_px))
    return found


def _room(table: Table, sandbox: Sandbox, subject: Subject, size_px: int) -> Room:
    note = ""

    def peak_of(batch: int) -> float | None:
        nonlocal note
        arguments = (subject, size_px, batch, table.device, table.weights, 1, 0.0, False)
        outcome = sandbox.call(measure, *arguments, limit_s=STEP_LIMIT_S)
        if outcome.kind in ("time", "error") or (outcome.kind == "done" and outcome.value.problem):
            note = outcome.text or outcome.value.problem
            raise TimeoutError(note)
        return None if outcome.kind == "memory" else float(outcome.value.peak_memory_bytes)

    budget = table.budget_bytes or _memory(table.device)
    known: dict[int, float] = {}
    try:
        for batch in (2, 4):
            if (peak := peak_of(batch)) is None:
                known[batch] = float("inf")
                break
            known[batch] = peak
    except TimeoutError:
        return Room(subject.name, subject.what, size_px, 0, float("nan"), None, note)
    fit = largest_batch(peak_of, budget, known)
    peak = fit.peaks.get(fit.largest, float("nan"))
    return Room(subject.name, subject.what, size_px, fit.largest, peak, fit.refused, note)


def bytes_of(text: str) -> float:
    """Return the bytes of '16GB', '512 MiB'. Raises ``ConfigError``."""
    number, unit = text.strip().rstrip("BbIiGgMm"), text.strip()[len(text.strip().rstrip("BbIiGgMm")) :].upper()
    try:
        return float(number) * UNITS[unit]
    except (ValueError, KeyError):
        raise ConfigError(f"--budget {text!r}: expected a number with GB, GiB, MB or MiB, such as 16GB") from None


def numbers(text: str, option: str, words: Sequence[str] = ()) -> list[int | str]:
    """Return '64,128' as numbers; the strings in ``words`` are allowed too. Raises ``ConfigError``."""
    found: list[int | str] = []
    for part in (p.strip() for p in text.split(",") if p.strip()):
        if part in words:
            found.append(part)
        elif part.isdigit() and int(part) > 0:
            found.append(int(part))
        else:
            raise ConfigError(f"{option} {text!r}: expected numbers{' or ' + ', '.join(words) if words else ''}")
    return found


def write_csv(points: Sequence[Point], path: Path) -> None:
    """Write one row per point; empty means not measured."""
    rows = [{k: v for k, v in p.plain().items() if k != "shares"} | _shares(p) for p in points]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as f:
        writer = DictWriter(f, columns)
        writer.writeheader()
        writer.writerows({k: "" if v is None else v for k, v in row.items()} for row in rows)


def _shares(point: Point) -> dict[str, float]:
    return {f"{name}_share": share for name, share in point.shares.items()}


def size_text(n: float) -> str:
    """Return bytes as text in the form of a budget: '16 GB'."""
    return f"{n / 1e9:.3g} GB"


def _memory(device: str) -> float:
    """Return the device's memory in bytes that may be used."""
    if device.startswith("cuda"):
        import torch

        return float(torch.cuda.get_device_properties(device).total_memory)
    return 0.9 * available_bytes()
