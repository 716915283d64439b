"""The runs that go on right now, each announced by a file in ``<out>/live/`` that its process holds a lock on."""

from __future__ import annotations

import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.store.clock import Stamp

LIVE = "live"


@dataclass(frozen=True)
class LiveRun:
    """A run of a suite that goes on: ``jobs`` cells at a time, ``threads`` each; ``started`` in s since 1970.

    ``monotonic_s`` and ``boot`` are those of its start (``clock.Stamp``).
    """

    suite: str
    jobs: int
    threads: int
    device: str
    started: float
    pid: int
    node: str
    monotonic_s: float = 0.0
    boot: str = ""

    @classmethod
    def here(cls, suite: str, jobs: int, threads: int, device: str, at: Stamp) -> LiveRun:
        """Return the run of this process, started at a moment."""
        who = (os.getpid(), socket.gethostname())
        return cls(suite, jobs, threads, device, at.wall_s, *who, at.monotonic_s, at.boot)

    @property
    def elapsed_s(self) -> float:
        """Seconds since its start."""
        return Stamp(self.started, self.monotonic_s, self.boot).elapsed_s()


@contextmanager
def announced(out: Path, run: LiveRun) -> Iterator[None]:
    """Let others know of the run within the block. However the process ends, the kernel releases the lock."""
    path = out / LIVE / f"{run.node}-{run.pid}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        f.write(json.dumps(asdict(run)))
        f.flush()
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def live_runs(out: Path, suite: str) -> list[LiveRun]:
    """Return a suite's runs that go on, oldest first."""
    found = [run for path in sorted((out / LIVE).glob("*.json")) if (run := _read(path)) and run.suite == suite]
    return sorted(found, key=lambda run: run.started)


def _read(path: Path) -> LiveRun | None:
    """Return the run of a file that a process holds; None for what a killed run left, which is removed."""
    try:
        with path.open(encoding="utf-8") as f:
            try:
                fcntl.flock(f, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return LiveRun(**json.loads(f.read()))
            if path.stat().st_size:  # one without text has just been made, and is about to be locked
                path.unlink()
    except (OSError, ValueError, TypeError):  # gone meanwhile, half written, or of another version
        pass
    return None
