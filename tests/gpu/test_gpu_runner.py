"""Parts of the GPU list: a failed or late one does not stop the others, finished ones are not run again."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from bench.gpu import runner
from bench.gpu.job import DONE, FAILED, NO_TIME, TIMED_OUT, Job, Record, Result, read_record
from bench.gpu.parts import PARTS, Part
from bench.gpu.runner import Settings, run_parts
from bench.gpu.summary import write_summary

KIND = {"title": "a part", "expected": "", "function": ""}


@dataclass(frozen=True)
class MadeUp(Part):
    """A part that calls a function of this file."""

    work: Callable[[Job], Result] = lambda job: Result("fine", {"value": 1})

    def run(self, job: Job) -> Result:
        return self.work(job)


def part(name: str, work: Callable[[Job], Result] | None = None, least_s: float = 0, most_s: float = 60) -> MadeUp:
    made = MadeUp(name, **KIND, least_s=least_s, most_s=most_s)
    return made if work is None else MadeUp(name, **KIND, least_s=least_s, most_s=most_s, work=work)


def fails(job: Job) -> Result:
    job.keep({"first": 2.5})
    raise ValueError("no such thing")


def dies(job: Job) -> Result:
    os._exit(9)


def waits(job: Job) -> Result:
    child = subprocess.Popen(["sleep", "600"])
    job.keep({"child": child.pid})
    time.sleep(600)
    return Result("too late")


@pytest.fixture(autouse=True)
def _nothing_to_load(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "PRELOADED", ())
    monkeypatch.setattr(runner, "describe", lambda device: {"device": "a device"})


def settings(out: Path, budget_s: float = 120) -> Settings:
    return Settings(out, "cpu", budget_s)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_one_part_does_not_stop_the_others(tmp_path: Path) -> None:
    parts = [part("fails", fails), part("dies", dies), part("waits", waits, most_s=3), part("fine")]
    ran = run_parts(settings(tmp_path), parts)
    assert [r.status for r in ran] == [FAILED, FAILED, TIMED_OUT, DONE]
    assert [read_record(tmp_path, p.name) for p in parts] == ran
    failed, died, late, _ = ran
    assert failed.figures == {"first": 2.5}
    assert failed.error.endswith("ValueError: no such thing")
    assert "code 9" in died.error
    assert "stopped after 3 s" in late.error
    deadline = time.monotonic() + 10
    while is_running(late.figures["child"]) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_running(late.figures["child"]), "what a late part started goes on"


def test_a_later_call_runs_what_is_not_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = [part("fine"), part("fails", fails)]
    run_parts(settings(tmp_path), parts)
    capsys.readouterr()
    assert [r.part for r in run_parts(settings(tmp_path), parts)] == ["fails"]
    assert "fine: done in an earlier call; skipped" in capsys.readouterr().out
    monkeypatch.setattr(runner, "code_version", lambda: "other code")
    assert [r.part for r in run_parts(settings(tmp_path), parts)] == ["fine", "fails"]
    monkeypatch.setattr(runner, "describe", lambda device: {"device": "another device"})
    assert [r.part for r in run_parts(settings(tmp_path), parts)] == ["fine", "fails"]


def test_a_part_without_time_is_not_started_and_keeps_what_it_has(tmp_path: Path) -> None:
    assert run_parts(settings(tmp_path, 20), [part("long", least_s=60)]) == []
    record = read_record(tmp_path, "long")
    assert record
    assert record.status == NO_TIME
    (failed,) = run_parts(settings(tmp_path), [part("long", fails)])
    assert run_parts(settings(tmp_path, 20), [part("long", fails, least_s=60)]) == []
    assert read_record(tmp_path, "long") == failed


def test_a_device_that_cannot_be_used_is_an_error_that_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_device(device: str) -> dict[str, str]:
        raise OSError("no driver")

    monkeypatch.setattr(runner, "describe", no_device)
    monkeypatch.setattr(runner, "STARTS", ("fork",))
    with pytest.raises(RuntimeError, match="device cpu cannot be used: OSError: no driver"):
        run_parts(settings(tmp_path), [part("fine")])


def test_the_summary_compares_results_with_what_is_expected(tmp_path: Path) -> None:
    known = {p.name: p for p in PARTS}

    def record(name: str, **fields: object) -> None:
        p = known[name]
        Record(name, p.title, p.expected, "c0de", "H200", "", **fields).save(tmp_path)  # type: ignore[arg-type]

    fast = {"step_s": 0.01, "pairs_per_s": 100.0, "share_of_peak": 0.2, "peak_memory_bytes": 2**30,
            "facts": {"training_step": "fast, CUDA graphs"}}  # fmt: skip
    reference = {"problem": "does not fit into the memory", "facts": {}}
    record("steps-1", status=DONE, seconds=20.4, result="4.00 times as fast", met=False,
           figures={"reference": {**fast, "step_s": 0.04}, "fast": fast, "ratio": 4.0})  # fmt: skip
    record("steps-64", status=DONE, seconds=9, result="r", figures={"reference": reference, "fast": fast})
    record("resume", status=FAILED, seconds=1, error="Traceback\nValueError: a | b")
    page = write_summary(tmp_path).read_text(encoding="utf-8")
    assert "| step at 256 px, batch 1 | done | 20 | 4.00 times as fast | at batch 1: at least 5" in page
    assert "| NOT as expected |" in page
    assert "| 1 | fast, CUDA graphs | 100 | 10 | 20% | 1.00 GiB | 4.00 |" in page
    assert "| 64 | does not fit into the memory | – | – | – | – | 1.00 |" not in page
    assert "| 64 | does not fit into the memory | – | – | – | – | – |" in page
    assert "resume: ValueError: a | b" in page
