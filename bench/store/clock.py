"""How long ago something began, by a clock that nobody sets: for durations that another process works out, too."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path


@dataclass(frozen=True)
class Stamp:
    """A moment: ``wall_s`` since 1970, for people, and ``monotonic_s`` since this machine's start, named by ``boot``.

    The monotonic clock of a machine is one for all its processes, and goes on when the wall clock is set.
    """

    wall_s: float
    monotonic_s: float
    boot: str

    @classmethod
    def now(cls) -> Stamp:
        """Return the present moment."""
        return cls(time.time(), time.monotonic(), boot_id())

    def elapsed_s(self) -> float:
        """Return the seconds since then.

        By the wall clock, and never below 0, for a moment of another machine or of before this machine's last start.
        """
        if self.boot and self.boot == boot_id():
            return time.monotonic() - self.monotonic_s
        return max(0.0, time.time() - self.wall_s)


@cache
def boot_id() -> str:
    """Return what identifies this start of this machine; '' where the system does not tell."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""
