"""The resources of a cell are sampled while it runs and shown in its progress file."""

from __future__ import annotations

import json
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from bench.cost import usage
from bench.cost.usage import USAGE, UsageMonitor, read_usage
from bench.stages.context import CellContext


def busy(seconds: float) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        sum(range(1000))


def test_a_busy_block_shows_its_processor_and_memory_use(tmp_path: Path) -> None:
    before_ms, wall_s, processor_s = time.time() * 1000, time.monotonic(), time.process_time()
    with UsageMonitor(tmp_path, "cpu", interval_s=0.2):
        busy(0.7)
    share = (time.process_time() - processor_s) / (time.monotonic() - wall_s)  # of a core; others may use it too
    found = read_usage(tmp_path / USAGE)
    by_name = {name: [v for _, n, v in found if n == name] for _, name, _ in found}
    assert set(by_name) == {
        "cpu_utilization_percentage", "system_memory_usage_megabytes", "system_memory_usage_percentage",
        "process_cpu_percentage", "process_memory_megabytes",
    }  # fmt: skip
    assert max(by_name["process_cpu_percentage"]) > 100 * share / 2
    assert 20 < by_name["process_memory_megabytes"][0] < by_name["system_memory_usage_megabytes"][0]
    assert all(0 <= v <= 100 for v in by_name["cpu_utilization_percentage"])
    times = [at for at, name, _ in found if name == "process_cpu_percentage"]
    assert times == sorted(times)
    assert before_ms < times[0] < time.time() * 1000


def test_a_short_block_leaves_no_file_and_a_second_attempt_adds_to_the_first(tmp_path: Path) -> None:
    with UsageMonitor(tmp_path, "cpu"):
        pass
    assert not (tmp_path / USAGE).exists()
    assert read_usage(tmp_path / USAGE) == []
    for _ in range(2):
        with UsageMonitor(tmp_path, "cpu", interval_s=0.02) as monitor:
            time.sleep(0.1)
        assert monitor.samples
    names = [name for _, name, _ in read_usage(tmp_path / USAGE)]
    assert "name" not in names
    assert names.count("process_memory_megabytes") > len(monitor.samples)


def test_long_cells_are_sampled_less_often(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage, "MOST_SAMPLES", 8)
    with UsageMonitor(tmp_path, "cpu", interval_s=0.005) as monitor:
        time.sleep(0.4)
    assert len(monitor.samples) <= 9
    assert monitor.interval_s > 0.005


class Nvml:
    """NVML's library with one device, the second of its machine, that does not report its power."""

    nvmlDeviceGetIndex = staticmethod(lambda handle: 1)  # noqa: N815
    nvmlDeviceGetMemoryInfo = staticmethod(lambda handle: SimpleNamespace(used=20e6, total=80e6))  # noqa: N815
    nvmlDeviceGetUtilizationRates = staticmethod(lambda handle: SimpleNamespace(gpu=55))  # noqa: N815

    @staticmethod
    def nvmlDeviceGetPowerUsage(handle: object) -> float:  # noqa: N802
        raise RuntimeError("not supported")


def test_gpu_metrics_have_mlflows_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage, "open_device", lambda device: (Nvml, object()))
    monkeypatch.setattr("torch.cuda.memory_allocated", lambda device: 3e6)
    found = UsageMonitor(tmp_path, "cuda:0")._sample()
    assert {k: v for k, v in found.items() if "gpu" in k} == {
        "process_gpu_memory_megabytes": 3.0,
        "gpu_1_utilization_percentage": 55.0,
        "gpu_1_memory_usage_megabytes": 20.0,
        "gpu_1_memory_usage_percentage": 25.0,
    }


def test_a_cell_shows_itself_before_its_first_step_and_its_losses_after(tmp_path: Path) -> None:
    ctx = CellContext(tmp_path, "cpu", 0, None)
    with UsageMonitor(tmp_path, "cpu", also=ctx.show_progress):
        first = json.loads((tmp_path / "progress.json").read_text())
        ctx.log(3, 10, {"loss_G": 1.5, "loss_D": float("nan")})
    then = json.loads((tmp_path / "progress.json").read_text())
    assert "step" not in first
    assert first["peak_memory_bytes"] > 20e6
    assert (then["step"], then["total"], then["metrics"]) == (3, 10, {"loss_G": 1.5})
    assert 0 <= first["elapsed_s"] <= then["elapsed_s"]
    assert first["updated"]["monotonic_s"] <= then["updated"]["monotonic_s"]
