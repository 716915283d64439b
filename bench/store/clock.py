"""Time stamps by a monotonic clock, for durations that are computed by other processes too."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path


@dataclass(frozen=True)
class Stamp:
    """A moment: ``wall_s`` since 1970 and ``monotonic_s`` since the machine's boot, which ``boot`` identifies.

    All processes of a machine share its monotonic clock, which does not change when the wall clock is set.
    """

    wall_s: float
    monotonic_s: float
    boot: str

    @classmethod
    def now(cls) -> Stamp:
        """Return the current moment."""
        return cls(time.time(), time.monotonic(), boot_id())

    def elapsed_s(self) -> float:
        """Return the seconds since then.

        The wall clock is used, with a minimum of 0, for a moment on another machine or before the last boot.
        """
        if self.boot and self.boot == boot_id():
            return time.monotonic() - self.monotonic_s
        return max(0.0, time.time() - self.wall_s)


@cache
def boot_id() -> str:
    """Return an identifier of the machine's last boot; '' if the system has none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""
