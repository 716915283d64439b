"""Workers on the nodes of a Ray cluster: each is a Ray task that runs a `bench worker` process on its node.

The task only starts and ends that process, so a cell runs in the same kind of process as without Ray. Fractions of a
GPU are bookkeeping of Ray: they say how many workers share one, and limit no memory.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.cost.host import available_cpus
from bench.engine.executors.fleet import WorkerCommand
from bench.engine.executors.worker import LEAVE_S, LOOK_S
from bench.errors import BenchError, ConfigError
from bench.store.heartbeat import HOST_VARIABLE

QUIET = {"log_to_driver": False, "logging_level": "ERROR", "include_dashboard": False}
OBJECT_STORE_BYTES = 100_000_000  # nothing is stored in it, and /dev/shm may be small
# Linux kills the process when its parent ends, even by `kill -9`.
DIE_WITH_PARENT = (
    "import ctypes, os, signal, sys\n"
    "ctypes.CDLL(None).prctl(1, signal.SIGKILL)\n"  # PR_SET_PDEATHSIG, kept by exec
    "os.getppid() == int(sys.argv[1]) and os.execv(sys.argv[2], sys.argv[2:])"
)


class RayWorkers:
    """Workers with ``cpus`` CPUs (default: the threads of a cell), ``gpus`` GPUs and ``memory_gb`` GB each.

    ``gpus`` is a fraction below 1 or a whole number, by default 1 on CUDA and 0 otherwise. ``address`` is that of a
    cluster; default: RAY_ADDRESS, else a cluster started on this machine, else a new one with its cores.
    """

    where = "workers on the Ray cluster"

    def __init__(
        self, command: WorkerCommand, cpus: int | None = None, gpus: float | None = None,
        memory_gb: float | None = None, address: str | None = None,
    ) -> None:  # fmt: skip
        on_cuda = command.device.startswith("cuda")
        gpus = float(on_cuda) if gpus is None else gpus
        if gpus > 1 and gpus != int(gpus):
            raise ConfigError(f"gpus: got {gpus}, expected a fraction below 1 or a whole number for Ray")
        self._command = replace(command, device="cuda") if on_cuda else command  # Ray shows a worker its own GPU only
        self._needs = {"CPU": cpus or command.threads, "GPU": gpus, "memory": (memory_gb or 0) * 1e9}
        self._address, self._logs = address, command.out / "workers"
        self._ray: Any = None
        self._is_mine = False  # whether the connection is to be closed
        self._tasks: list[Any] = []
        self._problem = ""  # of the last task that failed

    def start(self, number: int) -> None:
        """Start workers. Raises ``BenchError`` without Ray, without a cluster, or if its nodes are too small."""
        if self._ray is None:
            self._connect()
        self._logs.mkdir(parents=True, exist_ok=True)
        settings = {k: v for k, v in os.environ.items() if k.startswith("BENCH_") and k != HOST_VARIABLE}
        task = self._ray.remote(run_worker).options(
            num_cpus=self._needs["CPU"], num_gpus=self._needs["GPU"], memory=int(self._needs["memory"]) or None,
            max_retries=0, scheduling_strategy="SPREAD",
        )  # fmt: skip
        self._tasks += [task.remote(self._command.words, settings, str(self._logs)) for _ in range(number)]

    def alive(self) -> int:
        """Return the number of workers that wait for a node or run."""
        if self._tasks:
            ended, self._tasks = self._wait(0)
            for task in ended:
                try:
                    self._ray.get(task)
                except self._ray.exceptions.RayError as e:
                    self._problem = f"; the last problem: {str(e).strip().splitlines()[-1]}"
        return len(self._tasks)

    def stop(self) -> None:
        """End all workers; a cluster that was not started here goes on."""
        for force in (False, True):
            for task in self._tasks:
                self._ray.cancel(task, force=force)
            if self._tasks:
                self._tasks = self._wait(2 * LEAVE_S)[1]
        if self._is_mine:
            self._ray.shutdown()
        self._ray, self._is_mine, self._tasks = None, False, []

    def logs(self) -> str:
        """Return the folder of the output of the workers, and the last problem of a task."""
        return f"{self._logs}{self._problem}"

    def _wait(self, timeout_s: float) -> tuple[list[Any], list[Any]]:
        """Return the tasks that have ended, or end meanwhile, and the other ones."""
        return self._ray.wait(self._tasks, num_returns=len(self._tasks), timeout=timeout_s, fetch_local=False)

    def _connect(self) -> None:
        """Connect to the cluster, or start one."""
        try:
            import ray
        except ImportError:
            raise BenchError("--executor ray needs the package ray: pip install 'augbench[ray]'") from None
        self._is_mine = not ray.is_initialized()
        if self._is_mine:
            _init(ray, self._address)
        self._ray = ray
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        if not any(all(node.get(name, 0) >= amount for name, amount in self._needs.items()) for node in nodes):
            found = "; ".join(_words(node) for node in nodes)
            raise BenchError(f"no node of the Ray cluster is large enough: got {found}; needed {_words(self._needs)}")


def _init(ray: Any, address: str | None) -> None:
    given = address or os.environ.get("RAY_ADDRESS")
    try:
        ray.init(address=given or "auto", **QUIET)
    except ConnectionError as e:
        if given:
            raise BenchError(f"no Ray cluster answers at {given}: {e}; start it with `ray start --head`") from e
        ray.init(address="local", num_cpus=available_cpus(), object_store_memory=OBJECT_STORE_BYTES, **QUIET)


def _words(amounts: Mapping[str, float]) -> str:
    """Return the resources of a node or a worker: '2 CPU, 0 GPU, 8 GB'."""
    cpus, gpus, memory = (amounts.get(name, 0) for name in ("CPU", "GPU", "memory"))
    return f"{cpus:g} CPU, {gpus:g} GPU, {memory / 1e9:.3g} GB"


def run_worker(words: Sequence[str], settings: Mapping[str, str], logs: str) -> int:
    """Run the command of a worker on this node with its Python, and return the exit code; this is the Ray task.

    The process ends with the task: when it is cancelled, and when its node is removed. ``settings`` are added to the
    environment. Raises ``BenchError`` if the node lacks the output folder.
    """
    if not Path(logs).is_dir():
        raise BenchError(f"{socket.gethostname()}: {logs} is missing; expected an output folder that all nodes share")
    command = [sys.executable, "-c", DIE_WITH_PARENT, str(os.getpid()), sys.executable, *words[1:]]
    with (Path(logs) / f"ray-{socket.gethostname()}-{os.getpid()}.log").open("ab") as log:
        process = subprocess.Popen(
            command, env={**os.environ, **settings}, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        while process.poll() is None:  # not `wait`, which a cancellation does not interrupt
            time.sleep(LOOK_S)
    finally:
        process.terminate()  # it ends its cell and gives the claim back
        with suppress(subprocess.TimeoutExpired):
            process.wait(LEAVE_S)
        process.kill()
    return process.returncode
