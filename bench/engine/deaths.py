"""Why a cell failed whose worker process died, as text for its row."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from typing import Any

from bench.cost.host import with_job
from bench.cost.sandbox import MEMORY_ADVICE
from bench.engine.executors.worker import WorkerDied


def cause_of_death(death: WorkerDied, progress: Mapping[str, Any] | None, deaths: int) -> str:
    """Return the cause and the advice, from the cell's last progress and the number of its workers that died."""
    return with_job(_cause(death, progress, deaths))


def _cause(death: WorkerDied, progress: Mapping[str, Any] | None, deaths: int) -> str:
    if death.status >= 0:
        return (
            f"{death} in this cell without an error: code of the cell ended it (os._exit, or abort in a library); "
            "raise an error there instead"
        )
    text = f"{death} {deaths} times in this cell, the last time while no other cell was running"
    peak = (progress or {}).get("peak_memory_bytes")
    used = f"; it had used {peak / 2**30:.1f} GiB" if peak else ""
    if death.out_of_memory:
        return f"out of memory: {text}{used}; {MEMORY_ADVICE}"
    if death.status == -signal.SIGKILL:
        return f"{text}{used}; the usual cause is lack of memory (see `dmesg`): {MEMORY_ADVICE}"
    return f"{text}{used}; a compiled library crashed"
