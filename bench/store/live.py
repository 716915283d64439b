"""The active runs: each has a file in ``<out>/live/`` that its process keeps locked."""

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
    """An active run of a suite: ``jobs`` parallel jobs with ``threads`` each; ``started`` in s since 1970.

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
        """Return the run of this process, started at the given moment."""
        who = (os.getpid(), socket.gethostname())
        return cls(suite, jobs, threads, device, at.wall_s, *who, at.monotonic_s, at.boot)

    @property
    def elapsed_s(self) -> float:
        """Seconds since its start."""
        return Stamp(self.started, self.monotonic_s, self.boot).elapsed_s()


@contextmanager
def announced(out: Path, run: LiveRun) -> Iterator[None]:
    """Announce the run to other processes inside the block. The kernel releases the lock when the process ends."""
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


def live_runs(out: Path, suite: str | None = None) -> list[LiveRun]:
    """Return the active runs of a suite, or of all, oldest first."""
    found = [run for path in sorted((out / LIVE).glob("*.json")) if (run := _read(path))]
    return sorted((run for run in found if suite in (None, run.suite)), key=lambda run: run.started)


def _read(path: Path) -> LiveRun | None:
    """Return the run of a locked file; None for the file of a killed run, which is removed."""
    try:
        with path.open(encoding="utf-8") as f:
            try:
                fcntl.flock(f, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return LiveRun(**json.loads(f.read()))
            if path.stat().st_size:  # an empty file has just been created and is about to be locked
                path.unlink()
    except (OSError, ValueError, TypeError):  # removed meanwhile, incomplete, or of another version
        pass
    return None
