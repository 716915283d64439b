"""Energy of a CUDA device over a block, from NVIDIA's management library (NVML).

Read by the package nvidia-ml-py (``pip install 'augbench[gpu]'``), or without it from the driver (``bench.cost.nvml``).
Without a driver, or on another device, nothing is returned: not measured is not zero. The value is for the whole
device, including other processes.
"""

from __future__ import annotations

import threading
import time
from typing import Any

from bench.cost import nvml
from bench.cost.keys import CostKey

INTERVAL_S = 0.1  # seconds between two readings of the power, on devices without an energy counter


class EnergyMeter:
    """Joules of a block: the difference of the device's total, or its power integrated over time by a thread."""

    def __init__(self, device: str = "cpu", interval_s: float = INTERVAL_S) -> None:
        self.interval_s = interval_s
        self._library, self._handle = open_device(device)
        self._joules: float | None = None
        self._start: float | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> EnergyMeter:
        if self._library is None:
            return self
        self._start = self._total()
        if self._start is None and self._watts() is not None:
            self._thread = threading.Thread(target=self._integrate, daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._thread is not None:
            self._stop.set()
            self._thread.join()
        elif self._start is not None and (end := self._total()) is not None:
            self._joules = end - self._start

    def costs(self) -> dict[str, float]:
        """Return ``energy_j``, or nothing if it was not measured."""
        return {} if self._joules is None else {CostKey.ENERGY_J: self._joules}

    def _integrate(self) -> None:
        """Integrate power over time by the trapezoidal rule."""
        joules, at, watts = 0.0, time.perf_counter(), self._watts()
        last = False
        while not last:
            last = self._stop.wait(self.interval_s)
            now, power = time.perf_counter(), self._watts()
            if power is None or watts is None:
                return  # the device stopped reporting: part of the energy is not the energy
            joules += 0.5 * (power + watts) * (now - at)
            at, watts = now, power
        self._joules = joules

    def _total(self) -> float | None:
        """Return the joules since the driver was loaded; None if the device has no energy counter (before Volta)."""
        return query_nvml(lambda: self._library.nvmlDeviceGetTotalEnergyConsumption(self._handle) / 1e3)

    def _watts(self) -> float | None:
        return query_nvml(lambda: self._library.nvmlDeviceGetPowerUsage(self._handle) / 1e3)


def query_nvml(question: Any) -> float | None:
    """Return the result of an NVML query, None if NVML does not know it."""
    try:
        return float(question())
    except Exception:  # NVML has one class per error; none of them may stop a training
        return None


def open_device(device: str) -> tuple[Any, Any]:
    """Return (the library, the device's handle), or (None, None) if NVML is not available."""
    if not device.startswith("cuda"):
        return None, None
    try:
        import torch

        library = _library()
        library.nvmlInit()
        uuid = str(torch.cuda.get_device_properties(device).uuid)
        return library, library.nvmlDeviceGetHandleByUUID(uuid if uuid.startswith("GPU-") else f"GPU-{uuid}")
    except Exception:  # not installed, no driver, or a device that NVML does not know
        return None, None


def _library() -> Any:
    try:
        import pynvml

        return pynvml
    except ImportError:
        return nvml.DriverLibrary()
