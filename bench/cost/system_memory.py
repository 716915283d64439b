"""Memory of the machine and of processes in bytes: from ``/proc`` on Linux, elsewhere from psutil."""

from __future__ import annotations

import os
from pathlib import Path

PROC = Path("/proc")


def total_bytes() -> int:
    """Return the machine's memory."""
    return _of_machine("MemTotal", "total")


def available_bytes() -> int:
    """Return the memory that new work can use without swapping."""
    return _of_machine("MemAvailable", "available")


def resident_bytes(pid: int | None = None) -> int:
    """Return the resident set of a process, by default of this one; 0 if the process has ended."""
    try:
        return int((PROC / str(pid or "self") / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError):
        if (PROC / "self" / "statm").exists():
            return 0
    import psutil

    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0


def _of_machine(in_proc: str, in_psutil: str) -> int:
    try:
        lines = (PROC / "meminfo").read_text().splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith(f"{in_proc}:"))
    except (OSError, StopIteration):
        import psutil

        return int(getattr(psutil.virtual_memory(), in_psutil))
