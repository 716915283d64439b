"""Seconds by phase, and the peak memory of a block: the costs of a cell."""

from __future__ import annotations

import atexit
import ctypes
import gc
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.cost.keys import CostKey, phase_device_s, phase_s
from bench.cost.system_memory import resident_bytes

CLEAR_REFS, STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")


class PhaseTimer:
    """Sums wall and device seconds by phase name. On CUDA a phase ends when the device has finished its work.

    Phases nest: an inner phase's seconds are subtracted from the outer one, so that the phases add up to no more than
    the wall time. Device seconds are the time that the phase occupied the device: on CUDA the wall seconds, because
    every phase ends with the device's work; on a CPU the processor's seconds of all threads of this process.
    """

    def __init__(self, device: str = "cpu") -> None:
        self.device = device
        self.seconds: dict[str, float] = {}
        self.device_seconds: dict[str, float] = {}
        self.first_seconds: dict[str, float] = {}  # of each phase's first block, which includes the warm-up
        self._open: list[
            list[float]
        ] = []  # (wall, device) seconds already assigned to inner phases, one entry per phase

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time the block under ``name``."""
        self._open.append([0.0, 0.0])
        start, device_start = time.perf_counter(), self.device_clock()
        try:
            yield
        finally:
            self._synchronize()
            elapsed, on_device = time.perf_counter() - start, self.device_clock() - device_start
            inner, device_inner = self._open.pop()
            self.first_seconds.setdefault(name, elapsed - inner)
            self.seconds[name] = self.seconds.get(name, 0.0) + elapsed - inner
            self.device_seconds[name] = self.device_seconds.get(name, 0.0) + on_device - device_inner
            if self._open:
                self._open[-1][0] += elapsed
                self._open[-1][1] += on_device

    def device_clock(self) -> float:
        """Return the reading of the clock for device seconds."""
        return time.perf_counter() if self.device.startswith("cuda") else time.process_time()

    def _synchronize(self) -> None:
        if self.device.startswith("cuda"):
            import torch

            torch.cuda.synchronize(self.device)

    def costs(self) -> dict[str, float]:
        """Return the phases as cost keys: ``step_s``, ``sample_s``, …, and ``step_device_s``, …"""
        wall = {phase_s(name): seconds for name, seconds in self.seconds.items()}
        return wall | {phase_device_s(name): seconds for name, seconds in self.device_seconds.items()}


class PeakMemory:
    """Peak memory of a block in bytes: allocated and reserved on CUDA; resident set of this process on a CPU.

    The resident set's high-water mark is read from the kernel and reset at the start (Linux). Where that is impossible,
    a thread samples every ``interval_s``. Memory left unused by earlier cells is first returned to the system. The
    value includes the interpreter and its libraries.
    """

    def __init__(self, device: str = "cpu", interval_s: float = 0.05) -> None:
        self.device, self.interval_s = device, interval_s
        self._peak = 0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> PeakMemory:
        if self.device.startswith("cuda"):
            import torch

            torch.cuda.reset_peak_memory_stats(self.device)
            return self
        _give_back_memory()
        self._peak = resident_bytes()
        if not reset_high_water():
            self._thread = threading.Thread(target=self._sample, daemon=True)
            self._thread.start()
        return self

    def _sample(self) -> None:
        while not self._stop.wait(self.interval_s):
            self._peak = max(self._peak, resident_bytes())

    def __exit__(self, *exc: object) -> None:
        if self.device.startswith("cuda"):
            return
        if self._thread is None:
            self._peak = max(self._peak, high_water_bytes())
        else:
            self._stop.set()
            self._thread.join()
            self._peak = max(self._peak, resident_bytes())

    def costs(self) -> dict[str, float]:
        """Return ``peak_memory_bytes`` (and, on CUDA, ``peak_reserved_bytes``)."""
        if self.device.startswith("cuda"):
            import torch

            return {
                CostKey.PEAK_MEMORY_BYTES: float(torch.cuda.max_memory_allocated(self.device)),
                CostKey.PEAK_RESERVED_BYTES: float(torch.cuda.max_memory_reserved(self.device)),
            }
        return {CostKey.PEAK_MEMORY_BYTES: float(self._peak)}


def reset_high_water() -> bool:
    """Reset the kernel's high-water mark of this process's resident set; return whether that was possible."""
    try:
        CLEAR_REFS.write_text("5")
    except OSError:
        return False
    return high_water_bytes() > 0


def high_water_bytes() -> int:
    """Return the highest resident set since the mark was reset; 0 if the kernel does not report it."""
    try:
        lines = STATUS.read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)


_frozen_modules = 0  # number of modules loaded when their objects were last frozen


def _give_back_memory() -> None:
    """Return freed memory to the system, if the C library can (glibc); otherwise a cell would be charged for the last.

    Objects that libraries made on import are never freed: they are traversed once, not before every cell.
    """
    global _frozen_modules
    gc.collect()
    if len(sys.modules) != _frozen_modules:
        if not _frozen_modules:
            atexit.register(gc.unfreeze)  # libraries that check for leaks when a process ends count these
        _frozen_modules = len(sys.modules)
        gc.freeze()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)
