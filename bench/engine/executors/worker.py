"""A worker process: it does one call after another, and may die without taking this process with it."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.engine.executors.threads import limit_threads
from bench.errors import BenchError

LOOK_S = 0.2  # between two looks at whether the process lives; its answer is seen at once
LEAVE_S = 10.0  # for a worker to end by itself; then it is killed


class WorkerDied(BenchError):
    """The process of a call ended before the call did.

    ``status`` is its exit code, negative for a signal. ``out_of_memory`` says whether the kernel killed a process for
    lack of memory meanwhile.
    """

    def __init__(self, status: int, out_of_memory: bool = False) -> None:
        self.status, self.out_of_memory = status, out_of_memory
        super().__init__(f"the worker process {describe_exit(status)}")


def describe_exit(exit_code: int) -> str:
    """Return in words how a process ended: 'ended with exit code 0', 'was killed by SIGKILL'."""
    if exit_code >= 0:
        return f"ended with exit code {exit_code}"
    try:
        return f"was killed by {signal.Signals(-exit_code).name}"
    except ValueError:
        return f"was killed by signal {-exit_code}"


class Worker:
    """One process, a fresh interpreter, so that CUDA and thread pools start clean. Used by one thread at a time."""

    def __init__(self, threads: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._kills_before = oom_kills()
        self._process = context.Process(target=_serve, args=(theirs, os.getpid(), threads))
        # A Ctrl-C while the interpreter starts is for the parent alone; the worker inherits the mask.
        previous = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self._process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, previous)
        theirs.close()

    def call(self, function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        """Return ``function(*args)``, or raise what it raised. Raises ``WorkerDied`` when the process ended instead."""
        try:
            self._pipe.send((function, args))
            while not self._pipe.poll(LOOK_S):  # a child of the worker may hold the pipe open after its death
                if not self._process.is_alive() and not self._pipe.poll():
                    raise EOFError
            done, value = self._pipe.recv()
        except (EOFError, ConnectionError):
            raise self._death() from None
        if not done:
            raise value
        return value

    def _death(self) -> WorkerDied:
        self._process.join()
        out_of_memory = self._process.exitcode == -signal.SIGKILL and oom_kills() > self._kills_before
        return WorkerDied(int(self._process.exitcode or 0), out_of_memory)

    def close(self) -> None:
        """Let the process end; kill it when it does not."""
        self._pipe.close()
        self._process.join(LEAVE_S)
        self.kill()

    def kill(self) -> None:
        """Kill the process. Any thread may call it."""
        self._process.kill()


def oom_kills() -> int:
    """Return how many processes the kernel has killed for lack of memory since it started; 0 where it does not say."""
    try:
        lines = Path("/proc/vmstat").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)


def start_worker(parent: int, threads: int) -> None:
    """Make this process a worker: it leaves Ctrl-C to its parent, dies with it, and keeps to its threads."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle; it kills its workers
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    threading.Thread(target=_die_with, args=(parent,), daemon=True).start()
    limit_threads(threads)


def _die_with(parent: int) -> None:
    """Exit when the parent is gone, even by ``kill -9``: an orphan would hold its cell's lock and a core."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def _serve(pipe: Any, parent: int, threads: int) -> None:
    """Answer calls until the other end is closed."""
    start_worker(parent, threads)
    while True:
        try:
            message = pipe.recv_bytes()
        except (EOFError, ConnectionError):
            return
        try:
            function, args = pickle.loads(message)
            pipe.send((True, function(*args)))
        except BaseException as e:  # a plug-in may raise SystemExit or KeyboardInterrupt
            pipe.send((False, _portable(e)))


def _portable(error: BaseException) -> BaseException:
    """Return the error with its traceback as a note, or a plain one that says the same, if it cannot be pickled."""
    error.add_note("".join(traceback.format_exception(error)))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return BenchError(f"{type(error).__name__}: {error}")
    return error
