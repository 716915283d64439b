"""Resources that a cell uses while it runs, sampled by a thread: the values of MLflow's system-metrics view.

MLflow's monitor writes into an open run; here runs are written afterwards, from the store. So a cell keeps its
samples in ``system.csv`` (time in ms since 1970, name, value), under MLflow's names where they mean the same:

``cpu_utilization_percentage``      the machine's processors, all processes
``system_memory_usage_megabytes``   the machine's memory, and ``…_percentage`` of it
``gpu_<i>_…``                       the device's utilization, memory and power, all processes (needs nvidia-ml-py)
``process_cpu_percentage``          this process only; 100 is one core
``process_memory_megabytes``        its resident set, interpreter and libraries included
``process_gpu_memory_megabytes``    memory of its tensors on a CUDA device

Without psutil there are only the values of the GPU.
"""

from __future__ import annotations

import csv
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from bench.cost.energy import open_device, query_nvml
from bench.cost.system_memory import resident_bytes
from bench.cost.timers import high_water_bytes
from bench.store.history import read_history

USAGE = "system.csv"
COLUMNS = ("at_ms", "name", "value")
INTERVAL_S = 1.0
MOST_SAMPLES = 600  # when there are more, every second one is dropped and the interval doubles
MB = 1e6

Sample = tuple[int, dict[str, float]]


class UsageMonitor:
    """Samples a block every ``interval_s``, first after one interval, and writes ``<folder>/system.csv`` at its end.

    Samples of an earlier attempt are kept: an interrupted cell shows both, with the gap between them. A block that ends
    before the first sample writes no file. ``also`` is called at the start and after each sample.
    """

    def __init__(
        self, folder: Path, device: str, interval_s: float = INTERVAL_S, also: Callable[[], None] = lambda: None
    ) -> None:
        self.path, self.device, self.interval_s, self._also = folder / USAGE, device, interval_s, also
        self.samples: list[Sample] = []
        self._psutil: Any = _psutil()
        self._process: Any = self._psutil.Process() if self._psutil else None
        self._library, self._handle = open_device(device)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="usage", daemon=True)

    def __enter__(self) -> UsageMonitor:
        self._also()
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._thread.join()
        self._write()

    def _work(self) -> None:
        if self._psutil:
            self._psutil.cpu_percent()  # both report the use since this thread's last call
            self._process.cpu_percent()
        while not self._stop.wait(self.interval_s):
            self.samples.append((time.time_ns() // 1_000_000, self._sample()))
            if len(self.samples) > MOST_SAMPLES:
                self.samples = self.samples[::2]
                self.interval_s *= 2
            with suppress(OSError):  # a full disk: the cell itself will report it
                self._also()

    def _sample(self) -> dict[str, float]:
        found = self._of_processor() if self._psutil else {}
        return found | self._of_gpu() if self.device.startswith("cuda") else found

    def _of_processor(self) -> dict[str, float]:
        memory = self._psutil.virtual_memory()
        return {
            "cpu_utilization_percentage": self._psutil.cpu_percent(),
            "system_memory_usage_megabytes": memory.used / MB,
            "system_memory_usage_percentage": memory.percent,
            "process_cpu_percentage": self._process.cpu_percent(),
            "process_memory_megabytes": self._process.memory_info().rss / MB,
        }

    def _of_gpu(self) -> dict[str, float]:
        """Return the values of NVML and torch's allocator, without CUDA calls, which would break a graph capture."""
        import torch

        found: dict[str, float | None] = {
            "process_gpu_memory_megabytes": torch.cuda.memory_allocated(self.device) / MB,
        }
        if self._library is not None:
            nvml, handle = self._library, self._handle
            gpu = f"gpu_{int(query_nvml(lambda: nvml.nvmlDeviceGetIndex(handle)) or 0)}"
            used = query_nvml(lambda: nvml.nvmlDeviceGetMemoryInfo(handle).used)
            total = query_nvml(lambda: nvml.nvmlDeviceGetMemoryInfo(handle).total)
            found[f"{gpu}_utilization_percentage"] = query_nvml(lambda: nvml.nvmlDeviceGetUtilizationRates(handle).gpu)
            found[f"{gpu}_memory_usage_megabytes"] = None if used is None else used / MB
            found[f"{gpu}_memory_usage_percentage"] = 100 * used / total if used is not None and total else None
            found[f"{gpu}_power_usage_watts"] = query_nvml(lambda: nvml.nvmlDeviceGetPowerUsage(handle) / 1e3)
        return {name: value for name, value in found.items() if value is not None}

    def _write(self) -> None:
        if not self.samples:
            return
        with self.path.open("a", newline="", encoding="utf-8") as f:
            writer = csv.writer(f)
            writer.writerow(
                COLUMNS if f.tell() == 0 else ()
            )  # an empty line ends a line that was cut when the process was killed
            writer.writerows((at, name, round(value, 1)) for at, found in self.samples for name, value in found.items())


def _psutil() -> Any:
    """Return the module psutil, None if it is not installed."""
    try:
        import psutil
    except ImportError:
        return None
    return psutil


def read_usage(path: Path) -> list[tuple[int, str, float]]:
    """Return (time in ms since 1970, name, value) of a cell's samples; nothing if there is no such file."""
    return list(read_history(path))


def peak_bytes(device: str) -> int:
    """Return the highest memory so far of the current cell of this process, as ``PeakMemory`` will count it."""
    if device.startswith("cuda"):
        import torch

        return int(torch.cuda.max_memory_allocated(device))
    return high_water_bytes() or resident_bytes()
