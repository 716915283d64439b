"""Runs the parts one by one, each in a process of its own with a time limit, and keeps a record of each.

The processes are forked from this one, which has loaded torch but not touched the device: a new interpreter would need
seconds for every part. Where a forked process cannot use the device, new interpreters are started instead.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import signal
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from bench.files import files_below, write_atomic
from bench.gpu.job import DONE, FAILED, NO_PYTEST, NO_TIME, RUNNING, TIMED_OUT, Job, Record, read_record
from bench.gpu.machine import describe
from bench.gpu.parts import PARTS, Part

CLOSING_S = 5.0  # of the budget, for the summary
DRY_S = 600.0  # limit of a part of the dry form, which may run on a busy machine
MACHINE_S = 90.0  # limit for the first use of the device
ROOT = Path(__file__).parents[2]
PRELOADED = ("torch", "torchvision", "timm", "sklearn.metrics", "bench.engine.cell_run", "bench.forecast.probes")
STARTS = ("fork", "spawn")  # ways to start a process; the first that can use the device
FINE = (DONE, NO_PYTEST, NO_TIME)  # no failure


@dataclass(frozen=True)
class Settings:
    """What was asked for on the command line."""

    out: Path
    device: str
    budget_s: float
    dry: bool = False
    data: Path | None = None  # folder of real images; None: the phantom


def run_parts(settings: Settings, parts: Sequence[Part] = PARTS) -> list[Record]:
    """Run the parts that are not done for this code, device and data, and return the records of those that ran.

    Raises ``RuntimeError`` if the device cannot be used.
    """
    started = time.monotonic()
    settings.out.mkdir(parents=True, exist_ok=True)
    for name in PRELOADED:
        import_module(name)
    method, machine = open_machine(settings)
    write_atomic(settings.out / "machine.json", json.dumps({**machine, "dry": settings.dry}, indent=1) + "\n")
    code, name = code_version(), f"{machine['device']}{', dry form' if settings.dry else ''}"
    ran = []
    for part in parts:
        data = settings.data.name if part.needs_data and settings.data else ""
        new = Record(part.name, part.title, part.expected, code, name, data)
        old = read_record(settings.out, part.name)
        same = old is not None and old.is_same_run(new)
        left_s = settings.budget_s - CLOSING_S - (time.monotonic() - started)
        if old and same and old.status == DONE:
            say(f"{part.name}: done in an earlier call; skipped")
        elif left_s < part.least_s and not settings.dry:
            say(f"{part.name}: {NO_TIME} ({max(left_s, 0):.0f} s left, {part.least_s:.0f} s needed)")
            if not same or (old and old.status == RUNNING):
                replace(new, status=NO_TIME).save(settings.out)
        else:
            limit_s = DRY_S if settings.dry else min(part.most_s, left_s)
            earlier = old.figures if old and same else {}
            ran.append(run_part(part, new, settings, limit_s, method, earlier))
            say(f"{part.name}: {ran[-1].status}, {ran[-1].seconds:.0f} s: {ran[-1].result or last_line(ran[-1].error)}")
    return ran


def run_part(
    part: Part, record: Record, settings: Settings, limit_s: float, method: str, earlier: Mapping[str, Any]
) -> Record:
    """Run one part in its own process and return its record, which is stored; after ``limit_s`` it is killed."""
    record.save(settings.out)
    start = time.monotonic()
    job = Job(settings.out, settings.device, settings.dry, record, start + limit_s, earlier, settings.data)
    log = settings.out / "log" / f"{part.name}.txt"
    log.parent.mkdir(exist_ok=True)
    code = in_process(method, _work, (part, job, log), limit_s)
    found = read_record(settings.out, part.name) or record
    found = replace(found, seconds=round(time.monotonic() - start, 2))
    if found.status == RUNNING:  # the process did not come to its end
        late = code is None
        text = f"stopped after {limit_s:.0f} s" if late else f"the process ended with code {code}; see log/{log.name}"
        found = replace(found, status=TIMED_OUT if late else FAILED, error=text)
    found.save(settings.out)
    return found


def in_process(method: str, target: Any, arguments: tuple[Any, ...], limit_s: float) -> int | None:
    """Return the exit code of a function in its own process; None if it was killed, with its children, when late."""
    context: Any = multiprocessing.get_context(method)
    process = context.Process(target=target, args=arguments)
    process.start()
    try:
        process.join(limit_s)
        late = process.is_alive()
    finally:
        for kill in (os.killpg, os.kill):  # the first fails before the process has a group of its own
            with suppress(ProcessLookupError, PermissionError):
                kill(process.pid, signal.SIGKILL)
        process.join()
    return None if late else int(process.exitcode)


def _work(part: Part, job: Job, log: Path) -> None:
    """Run a part; its output goes to the log, its result into its record."""
    _own_group(log)
    try:
        result = part.run(job)
        record = replace(job.record, status=result.status, result=result.words, met=result.met, figures=result.figures)
    except BaseException as e:  # also sys.exit in a library
        kept = read_record(job.out, part.name) or job.record
        record = replace(kept, status=FAILED, error=f"{type(e).__name__}: {e}"[-3000:])
        traceback.print_exc()  # into the log
    record.save(job.out)


def _own_group(log: Path) -> None:
    """Make this process the head of its own group, so that its children can be killed with it; redirect its output."""
    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    sys.stdout.flush()
    sys.stderr.flush()
    f = log.open("w", buffering=1, encoding="utf-8")
    for number in (1, 2):  # also of libraries and of child processes
        os.dup2(f.fileno(), number)
    sys.stdout = sys.stderr = f


def open_machine(settings: Settings) -> tuple[str, dict[str, Any]]:
    """Return the start method whose processes can use the device, and the description of the machine."""
    path, log = settings.out / "machine.json", settings.out / "log" / "machine.txt"
    log.parent.mkdir(exist_ok=True)
    for method in STARTS:
        path.unlink(missing_ok=True)
        in_process(method, _describe, (settings.device, path, log), MACHINE_S)
        with suppress(OSError, ValueError):
            return method, dict(json.loads(path.read_text(encoding="utf-8")))
    lines = log.read_text(errors="replace").strip().splitlines() if log.is_file() else []
    raise RuntimeError(f"device {settings.device} cannot be used: {lines[-1] if lines else 'no answer'}; see {log}")


def _describe(device: str, path: Path, log: Path) -> None:
    _own_group(log)
    write_atomic(path, json.dumps(describe(device)))


def code_version() -> str:
    """Return 12 hex digits that depend on the content of the three packages and the configs."""
    found = hashlib.sha256()
    for folder in ("bench", "tlsgan", "baselines", "configs"):
        for path in files_below(ROOT / folder):
            if path.suffix in (".py", ".yaml"):
                found.update(path.relative_to(ROOT).as_posix().encode() + path.read_bytes())
    return found.hexdigest()[:12]


def last_line(text: str) -> str:
    """Return the last line of an error, at most 200 characters."""
    lines = text.strip().splitlines()
    return lines[-1][:200] if lines else ""


def say(text: str) -> None:
    """Print a line at once."""
    print(text, flush=True)
