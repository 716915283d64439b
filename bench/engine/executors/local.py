"""Executors on one machine: worker processes, or the current process."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from typing import Any, Protocol

from bench.engine.executors.threads import limit_threads
from bench.engine.executors.worker import Worker, WorkerDied
from bench.plan.plan import Cell

IN_PROCESS = "BENCH_IN_PROCESS"  # environment variable


class Executor(Protocol):
    """Runs function calls; each slot runs one call at once."""

    slots: int

    def submit(self, fn: Callable[..., Any], *args: Any) -> Future[Any]:
        """Start the call, or queue it."""
        ...

    def tend(self, cells: Sequence[Cell]) -> None:
        """Called again and again while other processes run these cells, or are to run them."""
        ...

    def close(self) -> None:
        """End the workers; no call may be running."""
        ...

    def kill(self) -> None:
        """Stop everything immediately; interrupted cells resume from their checkpoints in the next run."""
        ...


class InProcess:
    """Runs cells one after another in this process. A cell that ends the process ends the run."""

    slots = 1

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._ready = False

    def submit(self, fn: Callable[..., Any], *args: Any) -> Future[Any]:
        """Run the call now and return a finished future."""
        if not self._ready:
            limit_threads(self._threads)
            self._ready = True
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args))
        except Exception as e:
            future.set_exception(e)
        return future

    def tend(self, cells: Sequence[Cell]) -> None:
        """Do nothing: the cells are run by others."""

    def close(self) -> None:
        """Do nothing: there are no workers."""

    def kill(self) -> None:
        """Do nothing: there are no workers."""


class Workers:
    """``slots`` worker processes. If one dies, only its call fails, with ``WorkerDied``."""

    def __init__(self, slots: int, threads: int) -> None:
        self.slots, self._threads = slots, threads
        self._pool = ThreadPoolExecutor(slots)  # a thread waits for each worker
        self._idle: list[Worker] = []
        self._all: list[Worker] = []
        self._lock = threading.Lock()
        self._killed = False

    def submit(self, fn: Callable[..., Any], *args: Any) -> Future[Any]:
        """Give the call to a worker; start a new worker if none is idle."""
        return self._pool.submit(self._call, fn, args)

    def _call(self, fn: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        worker = self._take()
        try:
            return worker.call(fn, args)
        except WorkerDied:
            self._all.remove(worker)
            raise
        finally:
            if worker in self._all:
                self._idle.append(worker)

    def _take(self) -> Worker:
        with self._lock:  # held while a worker starts, so that ``kill`` misses none
            if self._killed:
                raise CancelledError
            if self._idle:
                return self._idle.pop()
            worker = Worker(self._threads)
            self._all.append(worker)
            return worker

    def tend(self, cells: Sequence[Cell]) -> None:
        """Do nothing: the cells are run by others."""

    def close(self) -> None:
        """Wait for the workers to end."""
        self._pool.shutdown(wait=True)
        for worker in self._all:
            worker.close()

    def kill(self) -> None:
        """Kill the workers."""
        with self._lock:
            self._killed = True
            for worker in self._all:
                worker.kill()
        self._pool.shutdown(wait=True, cancel_futures=True)


def make_executor(jobs: int, threads: int) -> Executor:
    """Return the executor for ``jobs`` parallel jobs with ``threads`` CPU threads each.

    Cells run in separate processes, even with one job, so that a plug-in cannot end the run. For debugging, one job
    with BENCH_IN_PROCESS=1 runs in this process.
    """
    return InProcess(threads) if in_process(jobs) else Workers(jobs, threads)


def in_process(jobs: int) -> bool:
    """Return whether cells run in this process: one job and BENCH_IN_PROCESS=1."""
    return jobs == 1 and os.environ.get(IN_PROCESS) == "1"
