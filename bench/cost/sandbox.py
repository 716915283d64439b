"""A separate process for calls that may need more memory than available: only this process ends.

On CUDA torch itself refuses (``OutOfMemoryError``) within the budget's share of the device. On a CPU the process is
monitored from outside and killed when its resident set exceeds the budget; torch or the kernel may stop it earlier.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal

from bench.cost.system_memory import available_bytes, resident_bytes

LOOK_S = 0.01  # seconds between two checks of the process's memory
RESERVE = 0.9  # share of the free memory that a process on a CPU may use, for any budget
MEMORY_ADVICE = "use fewer --jobs, smaller batches or images, or a machine with more memory"
NO_MEMORY = ("out of memory", "can't allocate memory", "not enough memory", "cannot allocate memory", "alloc_failed")


@dataclass(frozen=True)
class Outcome:
    """How a call ended; ``value`` is its return value, ``text`` its error."""

    kind: Literal["done", "memory", "time", "error"]
    value: Any = None
    text: str = ""


class Sandbox:
    """Calls functions in a process that may die; the next call starts a new one."""

    def __init__(self, device: str, threads: int, budget_bytes: float | None = None) -> None:
        self.device, self.threads, self.budget_bytes = device, threads, budget_bytes
        self._process: Any = None
        self._pipe: Any = None

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        self._end()

    def call(self, function: Callable[..., Any], *args: Any, limit_s: float = float("inf")) -> Outcome:
        """Return the outcome of ``function(*args)``; 'memory' when it did not fit, 'time' after ``limit_s``."""
        self._start()
        watched = None if self.device.startswith("cuda") else self._process.pid
        free = available_bytes() + (resident_bytes(watched) if watched else 0)
        most = min(self.budget_bytes or float("inf"), RESERVE * free)
        self._pipe.send((function, args))
        start = time.monotonic()
        while not self._pipe.poll(LOOK_S):
            if not self._process.is_alive():
                return self._ended(Outcome("memory", text="the process was killed"))
            if watched and resident_bytes(watched) > most:
                return self._ended(Outcome("memory", text="its resident set passed the budget"))
            if time.monotonic() - start > limit_s:
                return self._ended(Outcome("time", text=f"took longer than {limit_s:.0f} s"))
        try:
            outcome: Outcome = self._pipe.recv()
        except (EOFError, OSError):
            return self._ended(Outcome("memory", text="the process was killed"))
        return outcome

    def _start(self) -> None:
        if self._process is not None and self._process.is_alive():
            return
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        share = self.budget_bytes if self.device.startswith("cuda") else None
        self._process = context.Process(target=_serve, args=(theirs, self.device, self.threads, share), daemon=True)
        self._process.start()
        theirs.close()
        self._pipe.recv()

    def _ended(self, outcome: Outcome) -> Outcome:
        self._end()
        return outcome

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._pipe.close()
            self._process = None


def _serve(pipe: Any, device: str, threads: int, budget_bytes: float | None) -> None:
    """Answer calls until the other end is closed. What they print goes to stderr: stdout may be read as JSON."""
    sys.stdout = sys.stderr
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(threads)  # numpy and torch are not loaded yet; the first call that needs them loads them
    if device.startswith("cuda"):
        import torch

        torch.zeros(1, device=device)
        if budget_bytes:
            total = torch.cuda.get_device_properties(device).total_memory
            torch.cuda.set_per_process_memory_fraction(min(1.0, budget_bytes / total), device)
    with contextlib.suppress(EOFError, OSError, KeyboardInterrupt):
        pipe.send("ready")
        while True:
            function, args = pipe.recv()
            pipe.send(_outcome(function, args))
            if device.startswith("cuda"):
                torch.cuda.empty_cache()


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether the error means that memory was exhausted, on the CPU or on a device."""
    text = f"{type(error).__name__}: {error}".lower()
    return isinstance(error, MemoryError) or any(words in text for words in NO_MEMORY)


def _outcome(function: Callable[..., Any], args: tuple[Any, ...]) -> Outcome:
    try:
        return Outcome("done", function(*args))
    except Exception as e:
        text = f"{type(e).__name__}: {e}"
        short = is_out_of_memory(e)
        traceback.clear_frames(e.__traceback__)  # they hold the tensors that filled the memory
        return Outcome("memory" if short else "error", text=text.splitlines()[0][:300])
