"""Seconds by phase and peak memory: what counts as a cell's cost, and what does not."""

from __future__ import annotations

import contextlib
import time

import numpy as np
import pytest

from bench.cost.host import available_cpus, describe_host, git_commit, versions
from bench.cost.timers import PeakMemory, PhaseTimer

MIB = 2**20


def test_phases_add_up_and_inner_ones_are_subtracted_from_outer_ones() -> None:
    timer = PhaseTimer()
    start = time.perf_counter()
    with timer.phase("step"):
        time.sleep(0.05)
        with timer.phase("sample"):
            time.sleep(0.1)
    with timer.phase("step"):
        time.sleep(0.05)
    wall = time.perf_counter() - start
    costs = timer.costs()
    assert set(costs) == {"step_s", "sample_s", "step_device_s", "sample_device_s"}
    assert costs["step_device_s"] + costs["sample_device_s"] < 0.1, "sleeping takes no processor"
    assert costs["sample_s"] >= 0.1
    assert costs["step_s"] >= 0.1
    assert costs["step_s"] + costs["sample_s"] == pytest.approx(wall, abs=0.05)
    assert 0.05 <= timer.first_seconds["step"] < costs["step_s"]


def test_a_phase_that_fails_is_still_charged() -> None:
    timer = PhaseTimer()
    with contextlib.suppress(ZeroDivisionError), timer.phase("step"):
        time.sleep(0.02)
        1 / 0  # noqa: B018
    assert timer.costs()["step_s"] >= 0.02


def measured(mib: int) -> float:
    with PeakMemory(interval_s=0.005) as memory:
        block = np.ones(mib * MIB, dtype=np.uint8)
        time.sleep(0.05)
        del block
    return memory.costs()["peak_memory_bytes"]


def test_peak_memory_sees_what_was_allocated_and_freed_again() -> None:
    base = measured(1)
    assert measured(256) - base == pytest.approx(255 * MIB, rel=0.2)


def test_a_small_cell_after_a_large_one_is_not_charged_for_it() -> None:
    base = measured(1)
    with PeakMemory():
        blocks = [
            np.ones(MIB // 64, dtype=np.uint8) for _ in range(64 * 200)
        ]  # small: kept by the allocator when freed
        keep = blocks[::1000]
        del blocks
    assert measured(1) - base < 60 * MIB
    assert len(keep) == 13


def test_the_host_is_described() -> None:
    assert "cores" in describe_host("cpu")
    assert available_cpus() >= 1
    assert versions()["torch"][0].isdigit()
    assert git_commit()
