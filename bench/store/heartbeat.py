"""Heartbeats: how processes on several machines see which of them are alive, without comparing their clocks.

``<out>/live/<id>.json`` states a process and a counter, which it increases ``PER_LEASE`` times per lease while it
lives. For another process, the holder of a heartbeat is dead if

1. it ran on the same machine, and that process has ended; or
2. its counter has not changed for the length of the lease, by the clock of the process that observes it.

So clocks may differ, and a heartbeat on a shared file system may be seen late, by less than a lease.
"""

from __future__ import annotations

import json
import math
import os
import secrets
import socket
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from bench.errors import ConfigError
from bench.store.clock import Stamp, boot_id

LIVE = "live"
PER_LEASE = 6  # heartbeats per lease
LEASE_S = 60.0
HOST_VARIABLE, LEASE_VARIABLE = "BENCH_HOST", "BENCH_LEASE_S"  # other name of this machine, length of a lease in s


@dataclass(frozen=True)
class Holder:
    """A process that holds something: ``id`` is unique per holding, ``machine`` identifies its process numbers.

    ``process_start`` distinguishes processes with the same number; ``since`` is the time of the start of the holding.
    """

    id: str
    host: str
    machine: str
    pid: int
    process_start: str
    lease_s: float
    since: Stamp

    @classmethod
    def here(cls) -> Holder:
        """Return a new holding of this process."""
        pid = os.getpid()
        return cls(secrets.token_hex(8), host_name(), machine(), pid, _start_of(pid), lease_seconds(), Stamp.now())

    @property
    def has_ended(self) -> bool:
        """Whether its process is known to have ended, which is only known on its own machine."""
        return self.machine == machine() and not _runs(self.pid, self.process_start)

    def plain(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self)

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Holder:
        """Return the holder of JSON values. Raises ``KeyError``, ``TypeError`` or ``ValueError`` for other ones."""
        return cls(**{**plain, "since": Stamp(**plain["since"])})


class Heartbeat:
    """Writes the heartbeat of a holder in a block, with what it does (``facts``, JSON values)."""

    def __init__(self, out: Path, holder: Holder, facts: Mapping[str, Any]) -> None:
        self._path, self._holder, self._facts = heartbeat_path(out, holder.id), holder, dict(facts)
        self._count = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="heartbeat", daemon=True)

    def __enter__(self) -> Heartbeat:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._write()
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._thread.join()
        self._path.unlink(missing_ok=True)

    def _work(self) -> None:
        while not self._stop.wait(self._holder.lease_s / PER_LEASE):
            with suppress(OSError):  # a full disk: the work itself will report it
                self._write()

    def _write(self) -> None:
        self._count += 1
        temporary = self._path.with_name(f".{self._path.name}.tmp")
        content = {"count": self._count, "holder": self._holder.plain(), **self._facts}
        temporary.write_text(json.dumps(content), encoding="utf-8")
        os.replace(temporary, self._path)


@dataclass
class Watch:
    """Observes the heartbeats of an output folder. Keep the object: it notices deaths by repeated calls."""

    out: Path
    _seen: dict[str, tuple[str, float]] = field(default_factory=dict)  # id: last content, and when it was first seen

    def is_dead(self, holder: Holder) -> bool:
        """Return whether the holder is dead; the first calls for a living and a dead one on another machine agree."""
        if holder.has_ended:
            return True
        content, now = _content(heartbeat_path(self.out, holder.id)), time.monotonic()
        before = self._seen.get(holder.id)
        if before is None or before[0] != content:
            self._seen[holder.id] = (content, now)
            return False
        return now - before[1] > holder.lease_s


def seems_alive(out: Path, holder: Holder) -> bool:
    """Return at once whether a holder is probably alive, for display and for commands that need no certainty.

    The age of a heartbeat of another machine is measured by the clock of the file system.
    """
    if holder.machine == machine():
        return not holder.has_ended
    try:
        written_s = heartbeat_path(out, holder.id).stat().st_mtime
    except OSError:
        return False
    return _file_system_time(out / LIVE) - written_s < 1.5 * holder.lease_s


def living(out: Path) -> list[tuple[Holder, dict[str, Any]]]:
    """Return the holders that are probably alive, oldest first, each with its facts.

    Heartbeats of processes of this machine that have ended are deleted.
    """
    found = []
    for path in sorted((out / LIVE).glob("*.json")):
        try:
            facts = json.loads(path.read_text(encoding="utf-8"))
            holder = Holder.of(facts.pop("holder"))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):  # removed meanwhile, or damaged
            continue
        if seems_alive(out, holder):
            found.append((holder, facts))
        elif holder.has_ended:
            with suppress(OSError):
                path.unlink(missing_ok=True)
    return sorted(found, key=lambda item: item[0].since.wall_s)


def heartbeat_path(out: Path, holder_id: str) -> Path:
    """Return the file of a heartbeat."""
    return out / LIVE / f"{holder_id}.json"


def lease_seconds() -> float:
    """Return the length of a lease in s: BENCH_LEASE_S, by default 60. Raises ``ConfigError``."""
    text = os.environ.get(LEASE_VARIABLE) or str(LEASE_S)
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise ConfigError(f"{LEASE_VARIABLE}: got {text!r}, expected a number of seconds above 0, such as 60")
    return seconds


def host_name() -> str:
    """Return the name of this machine, or that of BENCH_HOST."""
    return os.environ.get(HOST_VARIABLE) or socket.gethostname()


def machine() -> str:
    """Return an identifier of the set of process numbers: another container has another one."""
    return f"{host_name()}/{boot_id()}/{_process_namespace()}"


@cache
def _process_namespace() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:  # not Linux
        return ""


def _runs(pid: int, start: str) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's process
        pass
    return _start_of(pid) == start


def _start_of(pid: int) -> str:
    """Return when a process started (clock ticks since boot, Linux); '' if unknown or if it has ended (a zombie)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]


def _content(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""


def _file_system_time(folder: Path) -> float:
    """Return the current time of the file system's clock in s since 1970; this machine's if it cannot be written."""
    probe = folder / f".clock-{secrets.token_hex(4)}"
    try:
        probe.touch()
        return probe.stat().st_mtime
    except OSError:
        return time.time()
    finally:
        with suppress(OSError):
            probe.unlink(missing_ok=True)
