"""Memory and energy where psutil and nvidia-ml-py are not installed."""

from __future__ import annotations

import ctypes
import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import torch

from bench.cost import nvml, system_memory
from bench.cost.energy import EnergyMeter
from bench.cost.usage import UsageMonitor


def test_memory_is_as_psutil_says() -> None:
    assert system_memory.total_bytes() == pytest.approx(psutil.virtual_memory().total, rel=0.01)
    assert system_memory.available_bytes() == pytest.approx(psutil.virtual_memory().available, rel=0.2)
    assert system_memory.resident_bytes() == pytest.approx(psutil.Process().memory_info().rss, rel=0.05)
    assert system_memory.resident_bytes(os.getppid()) > 0


def test_memory_is_psutils_where_there_is_no_proc(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(system_memory, "PROC", tmp_path)
    test_memory_is_as_psutil_says()


def test_a_process_that_ended_has_no_memory() -> None:
    assert system_memory.resident_bytes(2**22 + 1) == 0


def test_usage_without_psutil_is_that_of_the_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "psutil", None)
    monkeypatch.setattr("torch.cuda.memory_allocated", lambda device: 3e6)
    assert UsageMonitor(tmp_path, "cpu")._sample() == {}
    assert UsageMonitor(tmp_path, "cuda")._sample() == {"process_gpu_memory_megabytes": 3.0}


class FakeDriver:
    """libnvidia-ml: one device of 100 W with an energy counter; functions return an error code."""

    def __init__(self) -> None:
        self.start = time.perf_counter()

    def nvmlInit_v2(self) -> int:  # noqa: N802
        return 0

    def nvmlDeviceGetHandleByUUID(self, uuid: ctypes.c_char_p, handle: Any) -> int:  # noqa: N802
        handle._obj.value = 42
        return 0 if uuid.value == b"GPU-1234" else 6

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: ctypes.c_void_p, energy: Any) -> int:  # noqa: N802
        energy._obj.value = int(1e5 * (time.perf_counter() - self.start))
        return 0 if handle.value == 42 else 2

    def nvmlDeviceGetPowerUsage(self, handle: ctypes.c_void_p, power: Any) -> int:  # noqa: N802
        return 3


@pytest.mark.parametrize("uuid", ["1234", "GPU-1234", "other"])
def test_energy_is_read_from_the_driver(monkeypatch: pytest.MonkeyPatch, uuid: str) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid=uuid))
    monkeypatch.setattr(ctypes, "CDLL", lambda name: {nvml.LIBRARY: FakeDriver()}[name])
    with EnergyMeter("cuda") as meter:
        time.sleep(0.2)
    if uuid == "other":
        assert meter.costs() == {}
    else:
        assert 0.99 * 100 * 0.2 <= meter.costs()["energy_j"] <= 100 * 10


def test_an_error_of_the_driver_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: FakeDriver())
    with pytest.raises(RuntimeError, match="nvmlDeviceGetPowerUsage: NVML returned error 3"):
        nvml.DriverLibrary().nvmlDeviceGetPowerUsage(ctypes.c_void_p(42))
