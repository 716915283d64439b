"""Seconds by phase, and the peak memory of a block: what a cell is charged."""

from __future__ import annotations

import ctypes
import gc
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil


class PhaseTimer:
    """Adds up wall seconds by phase name. On CUDA a phase ends when the device has finished its work.

    Phases nest: an inner phase's seconds are taken out of the outer one, so that the phases add up to no more than the
    wall time.
    """

    def __init__(self, device: str = "cpu") -> None:
        self.device = device
        self.seconds: dict[str, float] = {}
        self._open: list[float] = []  # seconds already given to inner phases, one entry per open phase

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time the block under ``name``."""
        self._open.append(0.0)
        start = time.perf_counter()
        try:
            yield
        finally:
            self._synchronize()
            elapsed = time.perf_counter() - start
            inner = self._open.pop()
            self.seconds[name] = self.seconds.get(name, 0.0) + elapsed - inner
            if self._open:
                self._open[-1] += elapsed

    def _synchronize(self) -> None:
        if self.device.startswith("cuda"):
            import torch

            torch.cuda.synchronize(self.device)

    def costs(self) -> dict[str, float]:
        """Return the phases as cost keys: ``step_s``, ``sample_s``, …"""
        return {f"{name}_s": seconds for name, seconds in self.seconds.items()}


class PeakMemory:
    """Peak memory of a block in bytes: allocated and reserved on CUDA; resident set of this process on a CPU.

    The resident set is sampled every 50 ms by a thread, since the kernel's own high-water mark never falls in a worker
    process that serves many cells; what earlier cells left unused is given back to the system first. It includes the
    interpreter and its libraries.
    """

    def __init__(self, device: str = "cpu", interval_s: float = 0.05) -> None:
        self.device, self.interval_s = device, interval_s
        self._peak = 0
        self._stop = threading.Event()

    def __enter__(self) -> PeakMemory:
        if self.device.startswith("cuda"):
            import torch

            torch.cuda.reset_peak_memory_stats(self.device)
        else:
            _give_back_memory()
            self._process = psutil.Process()
            self._peak = self._process.memory_info().rss
            self._thread = threading.Thread(target=self._sample, daemon=True)
            self._thread.start()
        return self

    def _sample(self) -> None:
        while not self._stop.wait(self.interval_s):
            self._peak = max(self._peak, self._process.memory_info().rss)

    def __exit__(self, *exc: object) -> None:
        if not self.device.startswith("cuda"):
            self._stop.set()
            self._thread.join()
            self._peak = max(self._peak, self._process.memory_info().rss)

    def costs(self) -> dict[str, float]:
        """Return ``peak_memory_bytes`` (and, on CUDA, ``peak_reserved_bytes``)."""
        if self.device.startswith("cuda"):
            import torch

            return {
                "peak_memory_bytes": float(torch.cuda.max_memory_allocated(self.device)),
                "peak_reserved_bytes": float(torch.cuda.max_memory_reserved(self.device)),
            }
        return {"peak_memory_bytes": float(self._peak)}


def resident_bytes() -> int:
    """Return the present resident set of this process."""
    return int(psutil.Process().memory_info().rss)


def _give_back_memory() -> None:
    """Return freed memory to the system, where the C library can (glibc); else a cell would be charged for the last."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)
