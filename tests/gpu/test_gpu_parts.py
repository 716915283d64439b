"""What single parts report: failed checks, an inexact resume, steps that do not fit, costs of several calls."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from bench.forecast.profiles import Point
from bench.gpu import checks, costs, resume, steps
from bench.gpu.job import DONE, NO_TIME, Job, Record, read_record
from bench.gpu.small_trainings import fit, largest_difference
from bench.stages.context import CellContext
from bench.types import ProfiledStep

RECORD = Record("a part", "", "", "c0de", "a device", "")


def job(out: Path, device: str = "cpu", left_s: float = 60, **fields: Any) -> Job:
    return Job(out, device, device == "cpu", RECORD, time.monotonic() + left_s, **fields)


def test_a_failed_check_fails_the_part_after_all_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def bad(device: str, folder: Path) -> str:
        raise AssertionError("relative difference 0.2")

    monkeypatch.setattr(checks, "CHECKS", {"one": bad, "two": lambda device, folder: "fine"})
    monkeypatch.setattr(checks, "DRY", ("one", "two"))
    with pytest.raises(AssertionError, match=r"one: AssertionError: relative difference 0\.2"):
        checks.run(job(tmp_path))
    kept = read_record(tmp_path, "a part")
    assert kept
    assert kept.figures["passed"] == {"two": "fine"}
    assert [p.name for p in tmp_path.iterdir()] == ["a part.json"], "temporary files are left"


def without_moments(state: Any) -> Any:
    """A checkpoint without the moments of its optimisers."""
    if not isinstance(state, dict):
        return state
    return {**state, "state": {}} if "param_groups" in state else {k: without_moments(v) for k, v in state.items()}


def test_a_resume_that_loses_moments_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exact = [fit("cgan", tmp_path / f"{i}", "cpu", interrupt_at=i) for i in (None, 5)]
    assert largest_difference(*exact) == 0
    load = CellContext.load_checkpoint
    monkeypatch.setattr(CellContext, "load_checkpoint", lambda self: without_moments(load(self)))
    broken = fit("cgan", tmp_path / "broken", "cpu", interrupt_at=5)
    assert largest_difference(exact[0], broken) > resume.ROUNDING


@pytest.mark.parametrize(("resumed", "met"), [(0.0, True), (2e-3, True), (0.1, False)])
def test_a_resume_may_differ_as_repetitions_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, resumed: float, met: bool
) -> None:
    differences = {"repeated": 1e-3, "resumed": resumed}
    monkeypatch.setattr(resume, "compared", lambda *_: differences)
    monkeypatch.setattr(resume, "classifier", lambda *_: {"repeated": 0.0, "resumed": 0.0})
    monkeypatch.setattr("torch.use_deterministic_algorithms", lambda *_, **__: None)
    monkeypatch.setattr(resume.os, "environ", {})
    result = resume.run(job(tmp_path))
    assert result.met is met
    assert result.words.startswith("1 of 2 equal" if resumed else "2 of 2 equal")


def test_a_step_that_does_not_fit_leaves_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = steps.offered(job(tmp_path), 1, compile="off")

    def too_large() -> Any:
        raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")

    refused = ProfiledStep(too_large, real["reference"].count)
    monkeypatch.setattr(steps, "offered", lambda *_, **__: {"reference": refused, "fast": real["fast"]})
    result = steps.by_batch(job(tmp_path), 1)
    assert "reference: does not fit into the memory" in result.words
    assert result.figures["fast"]["share_of_peak"] > 0
    assert result.met is None


def test_costs_continue_where_an_earlier_call_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def measure(subject: Any, size_px: int, batch: int, *_: object) -> Point:
        asked.append((subject.name, size_px, batch))
        if size_px == 512:
            raise RuntimeError("CUDA out of memory")
        return Point("training", subject.name, size_px, batch, seconds=0.1, images=batch, energy_j=2.0)

    monkeypatch.setattr(costs, "measure", measure)
    monkeypatch.setattr(costs, "release", lambda job: None)  # collects garbage, which takes time beside other tests
    late = costs.run(job(tmp_path, "cuda", left_s=1))
    assert (late.status, asked) == (NO_TIME, [])
    assert late.words == "0 of 24 combinations, 0 with energy"
    first = costs.run(job(tmp_path, "cuda"))
    assert (first.status, len(asked), first.met) == (DONE, 24, False)
    assert first.words == "16 of 24 combinations, 16 with energy"
    again = costs.run(job(tmp_path, "cuda", earlier=first.figures))
    assert asked[24:] == [p for p in asked[:24] if p[1] == 512]
    assert again.figures == first.figures
