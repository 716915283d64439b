"""Memory: the search for the largest batch, and child processes that may be killed."""

from __future__ import annotations

import os
import signal

import numpy as np
import pytest

from bench.cost.sandbox import Sandbox
from bench.errors import ConfigError
from bench.forecast.batches import extrapolate, largest_batch
from bench.forecast.profile_table import bytes_of, numbers
from bench.forecast.profiles import Point, Profile, read_profiles
from bench.report.charts.profile import draw_profile

MIB = 2**20


def test_the_largest_batch_is_found_by_a_line_and_measured() -> None:
    tried: list[int] = []

    def peak_of(batch: int) -> float | None:
        tried.append(batch)
        return 100 + 7.0 * batch if 100 + 7 * batch <= 1000 else None

    found = largest_batch(peak_of, 1000, {1: 107.0, 4: 128.0})
    assert (found.largest, tried[0]) == (128, 128)
    assert found.refused is not None
    assert 128 < found.refused <= 128 * 1.1 + 1
    assert len(tried) == 2


def test_a_nonlinear_peak_is_bisected() -> None:
    found = largest_batch(lambda b: 1.0 * b * b if b * b <= 10_000 else None, 10_000, {1: 1.0, 2: 4.0})
    assert 90 <= found.largest <= 100
    assert found.refused is not None
    assert found.refused > 100


def test_nothing_fits_and_no_answer_are_results() -> None:
    none = largest_batch(lambda b: None, 100, {}, least=1)
    assert (none.largest, none.refused) == (0, 1)

    def slow(batch: int) -> float | None:
        raise TimeoutError

    stopped = largest_batch(slow, 100, {1: 10.0, 2: 11.0})
    assert stopped.stopped
    assert stopped.largest == 2
    assert extrapolate({1: 5.0}, 100) is None


def fill(mib: int) -> int:
    return int(np.ones(mib * MIB, np.uint8)[::4096].sum()) * 4096 // MIB


def refuse() -> None:
    np.ones(2**50, np.uint8)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_process_that_takes_too_much_ends_and_the_next_call_works() -> None:
    with Sandbox("cpu", 1, budget_bytes=900 * MIB) as sandbox:
        assert sandbox.call(fill, 64).value == 64
        assert sandbox.call(fill, 3000).kind == "memory"
        assert sandbox.call(refuse).kind == "memory", "the allocator said no; the process lives"
        assert sandbox.call(die).kind == "memory"
        assert sandbox.call(fill, 1).value == 1
        wrong = sandbox.call(fill, "many")
        assert wrong.kind == "error"
        assert "ValueError" in wrong.text


def test_options_of_the_command_line() -> None:
    assert bytes_of("16GB") == 16e9
    assert bytes_of("512 MiB") == 512 * MIB
    assert numbers("1,4,max", "--batch", ("max",)) == [1, 4, "max"]
    for wrong in ("16", "x GB", "16 cows"):
        with pytest.raises(ConfigError, match="--budget"):
            bytes_of(wrong)
    with pytest.raises(ConfigError, match="--image-size"):
        numbers("64,big", "--image-size")


def test_a_profile_is_stored_and_drawn(tmp_path) -> None:  # type: ignore[no-untyped-def]
    points = tuple(
        Point("training", name, size, 4, 0.1 * size, 4, 3, 10**9, "float32", 1e11, 1e9 * size)
        for name in ("cgan", "cyclegan")
        for size in (32, 64)
    )
    gap = Point("training", "cyclegan", 128, 4, problem="does not fit in 16 GB")
    path = Profile("tiny", "a host", "cpu", 1, "2026", (*points, gap)).save(tmp_path)
    (found,) = read_profiles(tmp_path)
    assert found.points == (*points, gap)
    assert points[0].share_of_peak == pytest.approx(1e9 / 3.2 / 1e11)
    assert [p.name for p in draw_profile(found.points, tmp_path, path.stem)] == ["tiny-cpu-training.png"]
    (tmp_path / "profile" / "torn.json").write_text("{")
    assert len(read_profiles(tmp_path)) == 1
