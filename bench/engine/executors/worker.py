"""A worker process that runs one call after another; if it dies, this process continues."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.engine.executors.threads import limit_threads
from bench.errors import BenchError

LOOK_S = 0.2  # interval of checks whether the process is alive; its answer is received at once
LEAVE_S = 10.0  # time for a worker to end by itself before it is killed


class WorkerDied(BenchError):
    """The worker process ended before its call returned.

    ``status`` is its exit code, negative for a signal. ``out_of_memory``: whether the kernel killed a process for lack
    of memory during the call.
    """

    def __init__(self, status: int, out_of_memory: bool = False) -> None:
        self.status, self.out_of_memory = status, out_of_memory
        super().__init__(f"the worker process {describe_exit(status)}")


def describe_exit(exit_code: int) -> str:
    """Return how a process ended as text: 'ended with exit code 0', 'was killed by SIGKILL'."""
    if exit_code >= 0:
        return f"ended with exit code {exit_code}"
    try:
        return f"was killed by {signal.Signals(-exit_code).name}"
    except ValueError:
        return f"was killed by signal {-exit_code}"


class Worker:
    """One process with a new interpreter, so that CUDA and thread pools are initialised anew. Not thread-safe."""

    def __init__(self, threads: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._kills_before = oom_kills()
        self._process = context.Process(target=_serve, args=(theirs, os.getpid(), threads))
        # Only the parent handles Ctrl-C while the interpreter starts; the worker inherits the signal mask.
        previous = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self._process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, previous)
        theirs.close()

    def call(self, function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        """Return ``function(*args)`` or raise its error. Raises ``WorkerDied`` if the process ended before."""
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
        """Wait for the process to end; kill it if it does not."""
        self._pipe.close()
        self._process.join(LEAVE_S)
        self.kill()

    def kill(self) -> None:
        """Kill the process. Any thread may call it."""
        self._process.kill()


def oom_kills() -> int:
    """Return how many processes the kernel has killed for lack of memory since boot; 0 if unknown."""
    try:
        lines = Path("/proc/vmstat").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)


def start_worker(parent: int, threads: int) -> None:
    """Set up this process as a worker: ignore Ctrl-C, exit when the parent exits, limit the threads."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C and kills its workers
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    threading.Thread(target=_die_with, args=(parent,), daemon=True).start()
    limit_threads(threads)


def _die_with(parent: int) -> None:
    """Exit when the parent has ended, even by ``kill -9``: an orphan would keep its cell's lock and a core."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def _serve(pipe: Any, parent: int, threads: int) -> None:
    """Answer calls until the other end is closed. What they print goes to stderr: stdout may be read as JSON."""
    sys.stdout = sys.stderr
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
    """Return the error with its traceback as a note, or a ``BenchError`` with its message if it cannot be pickled."""
    error.add_note("".join(traceback.format_exception(error)))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return BenchError(f"{type(error).__name__}: {error}")
    return error
