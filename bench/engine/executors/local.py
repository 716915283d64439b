"""Where cells run on one machine: in worker processes, or in this process."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from typing import Any, Protocol

from bench.engine.executors.threads import limit_threads
from bench.engine.executors.worker import Worker, WorkerDied

IN_PROCESS = "BENCH_IN_PROCESS"  # environment variable


class Executor(Protocol):
    """Runs one function call at a time per slot."""

    slots: int

    def submit(self, fn: Callable[..., Any], *args: Any) -> Future[Any]:
        """Start the call, or queue it."""
        ...

    def close(self) -> None:
        """Let the workers go; nothing is in work."""
        ...

    def kill(self) -> None:
        """Stop everything at once; what was in work resumes from its checkpoints next time."""
        ...


class InProcess:
    """One cell at a time, in this process. A cell that ends the process ends the run."""

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

    def close(self) -> None:
        """Nothing to let go."""

    def kill(self) -> None:
        """Nothing to stop."""


class Workers:
    """``slots`` worker processes. When one dies, its call fails with ``WorkerDied``, and no other call does."""

    def __init__(self, slots: int, threads: int) -> None:
        self.slots, self._threads = slots, threads
        self._pool = ThreadPoolExecutor(slots)  # a thread waits for each worker
        self._idle: list[Worker] = []
        self._all: list[Worker] = []
        self._lock = threading.Lock()
        self._killed = False

    def submit(self, fn: Callable[..., Any], *args: Any) -> Future[Any]:
        """Hand the call to a worker; one is started when none is idle."""
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

    def close(self) -> None:
        """Let the workers end."""
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
    """Return the executor for ``jobs`` cells at a time with ``threads`` CPU threads each.

    They run in processes of their own, a single one too: nothing that a plug-in does can end the run. For a debugger,
    BENCH_IN_PROCESS=1 with one cell at a time keeps it in this process.
    """
    return InProcess(threads) if in_process(jobs) else Workers(jobs, threads)


def in_process(jobs: int) -> bool:
    """Return whether the work is to be done in this process: one job at a time, and BENCH_IN_PROCESS=1."""
    return jobs == 1 and os.environ.get(IN_PROCESS) == "1"
