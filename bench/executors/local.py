"""Where cells run on one machine: in this process, or in worker processes (joblib's loky)."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Protocol


class Executor(Protocol):
    """Runs one function call at a time per slot."""

    slots: int

    def submit(self, fn: Callable[..., Any], *args: Any) -> Future[Any]:
        """Start the call, or queue it."""
        ...

    def restart(self) -> None:
        """Replace workers that died."""
        ...

    def close(self) -> None:
        """Let the workers go; nothing is in work."""
        ...

    def kill(self) -> None:
        """Stop everything at once; what was in work resumes from its checkpoints next time."""
        ...


class InProcess:
    """One cell at a time, in this process."""

    slots = 1

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._ready = False

    def submit(self, fn: Callable[..., Any], *args: Any) -> Future[Any]:
        """Run the call now; its outcome comes as a finished future."""
        if not self._ready:
            limit_threads(self._threads)
            self._ready = True
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args))
        except Exception as e:
            future.set_exception(e)
        return future

    def restart(self) -> None:
        """Nothing to replace."""

    def close(self) -> None:
        """Nothing to let go."""

    def kill(self) -> None:
        """Nothing to stop."""


class Workers:
    """``slots`` worker processes, each a fresh interpreter, so that CUDA and thread pools start clean."""

    def __init__(self, slots: int, threads: int) -> None:
        self.slots, self._threads = slots, threads
        self._start()

    def _start(self) -> None:
        from joblib.externals.loky import ProcessPoolExecutor

        self._pool = ProcessPoolExecutor(
            max_workers=self.slots, initializer=start_worker, initargs=(os.getpid(), self._threads)
        )

    def submit(self, fn: Callable[..., Any], *args: Any) -> Future[Any]:
        """Hand the call to a worker."""
        future: Future[Any] = self._pool.submit(fn, *args)
        return future

    def restart(self) -> None:
        """Start fresh workers after one died (out of memory, a killed process)."""
        self.kill()
        self._start()

    def close(self) -> None:
        """Let the workers end."""
        self._pool.shutdown(wait=True)

    def kill(self) -> None:
        """Kill the workers."""
        self._pool.shutdown(wait=False, kill_workers=True)


def make_executor(jobs: int, threads: int) -> Executor:
    """Return the executor for ``jobs`` cells at a time with ``threads`` CPU threads each."""
    return InProcess(threads) if jobs == 1 else Workers(jobs, threads)


def limit_threads(threads: int) -> None:
    """Fix the number of CPU threads of this process: a float sum's order, and so the last digits, depend on it.

    Libraries loaded later read the environment; numpy's BLAS is there and would take all cores in every worker.
    """
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(threads)
    import numpy  # noqa: F401  (loads its BLAS, so that it is limited here)
    import torch
    from threadpoolctl import threadpool_limits

    threadpool_limits(threads)
    torch.set_num_threads(threads)


def start_worker(parent: int, threads: int) -> None:
    """Make this process a worker: it leaves Ctrl-C to its parent, dies with it, and keeps to its threads."""
    from joblib.externals.loky import process_executor

    # loky replaces a worker that grew by 300 MB; a network's memory is no leak, and a new worker imports torch anew
    process_executor._MAX_MEMORY_LEAK_SIZE = 2**62
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle; it kills its workers
    threading.Thread(target=_die_with, args=(parent,), daemon=True).start()
    limit_threads(threads)


def _die_with(parent: int) -> None:
    """Exit when the parent is gone, even by ``kill -9``: an orphan would hold its cell's lock and a core."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
