"""Workers on the nodes of a Ray cluster: each is a Ray task that runs a `bench worker` process on its node.

The task only starts and ends that process, so a cell runs in the same kind of process as without Ray. Fractions of a
GPU are bookkeeping of Ray: they say how many workers share one, and limit no memory.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from bench.cost.host import JOB_VARIABLE, LOG_VARIABLE, available_cpus
from bench.engine.executors.fleet import FleetError, WorkerCommand
from bench.engine.executors.worker import LEAVE_S, LOOK_S
from bench.errors import BenchError, ConfigError
from bench.store.heartbeat import HOST_VARIABLE
from bench.suite.resources import Resources

QUIET = {"log_to_driver": False, "logging_level": "ERROR", "include_dashboard": False}
OBJECT_STORE_BYTES = 100_000_000  # nothing is stored in it, and /dev/shm may be small
# Linux kills the process when its parent ends, even by `kill -9`.
DIE_WITH_PARENT = (
    "import ctypes, os, signal, sys\n"
    "ctypes.CDLL(None).prctl(1, signal.SIGKILL)\n"  # PR_SET_PDEATHSIG, kept by exec
    "os.getppid() == int(sys.argv[1]) and os.execv(sys.argv[2], sys.argv[2:])"
)


class RayWorkers:
    """Workers with these resources each, as Ray counts them: CPUs (default: the threads of a cell), GPUs and memory.

    ``gpus`` is a fraction below 1 or a whole number, by default 1 with the device cuda, otherwise 0; a worker with 0
    sees none. ``address`` is that of a cluster; default: RAY_ADDRESS, else a cluster that was started on this machine,
    else a new one with its cores.
    """

    where = "workers on the Ray cluster"
    _sharing: ClassVar[list[RayWorkers]] = []  # users of the connection that one of them opened

    def __init__(self, command: WorkerCommand, resources: Resources, address: str | None = None) -> None:
        on_cuda = command.device.startswith("cuda")
        gpus = float(on_cuda) if resources.gpus is None else resources.gpus
        if gpus > 1 and gpus % 1:
            raise ConfigError(f"resources: gpus: got {gpus}; for Ray, expected a fraction below 1 or a whole number")
        self._command = replace(command, device="cuda") if on_cuda else command  # a worker sees its own GPU only
        memory = (resources.memory_gb or 0) * 1e9
        self._needs = {"CPU": resources.cpus or command.threads, "GPU": gpus, "memory": memory}
        self._address, self._folder = address, command.out / "logs" / command.name
        self._ray: Any = None
        self._tasks: list[Any] = []
        self._problem = ""  # of the last task that failed

    def start(self, number: int) -> None:
        """Start workers. Raises ``FleetError`` without Ray, without a cluster, or if its nodes are too small."""
        if self._ray is None:
            self._connect()
        self._folder.mkdir(parents=True, exist_ok=True)
        settings = {k: v for k, v in os.environ.items() if k.startswith("BENCH_") and k != HOST_VARIABLE}
        settings |= {} if self._needs["GPU"] else {"CUDA_VISIBLE_DEVICES": ""}
        task = self._ray.remote(run_worker).options(
            num_cpus=self._needs["CPU"], num_gpus=self._needs["GPU"], memory=int(self._needs["memory"]) or None,
            max_retries=0, scheduling_strategy="SPREAD",
        )  # fmt: skip
        self._tasks += [task.remote(self._command.words, settings, str(self._folder)) for _ in range(number)]

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
        if self in self._sharing:
            self._sharing.remove(self)
            if not self._sharing:
                self._ray.shutdown()
        self._ray, self._tasks = None, []

    def logs(self) -> str:
        """Return the folder of the logs, and the last problem of a task."""
        return f"logs in {self._folder}{self._problem}"

    def _wait(self, timeout_s: float) -> tuple[list[Any], list[Any]]:
        """Return the tasks that have ended, or end meanwhile, and the other ones."""
        return self._ray.wait(self._tasks, num_returns=len(self._tasks), timeout=timeout_s, fetch_local=False)

    def _connect(self) -> None:
        """Connect to the cluster, or start one."""
        try:
            import ray
        except ImportError:
            raise FleetError("--executor ray needs the package ray: pip install 'augbench[ray]'") from None
        if not ray.is_initialized():
            _init(ray, self._address)
            self._sharing.append(self)
        elif self._sharing:
            self._sharing.append(self)
        self._ray = ray
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        if not any(all(node.get(name, 0) >= amount for name, amount in self._needs.items()) for node in nodes):
            found = "; ".join(_words(node) for node in nodes)
            raise FleetError(f"no node of the Ray cluster is large enough: got {found}; needed {_words(self._needs)}")


def _init(ray: Any, address: str | None) -> None:
    given = address or os.environ.get("RAY_ADDRESS")
    handler = signal.getsignal(signal.SIGTERM)  # Ray sets its own
    try:
        ray.init(address=given or "auto", **QUIET)
    except ConnectionError as e:
        if given:
            raise FleetError(f"no Ray cluster answers at {given}: {e}; start it with `ray start --head`") from e
        ray.init(address="local", num_cpus=available_cpus(), object_store_memory=OBJECT_STORE_BYTES, **QUIET)
    signal.signal(signal.SIGTERM, handler)
    with suppress(AttributeError):  # without a public option, the log of a node that died is printed over the progress
        ray._private.worker._worker_logs_enabled = False


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
    signal.signal(signal.SIGINT, signal.default_int_handler)  # Ray cancels by it; it is ignored below a script's `&`
    command = [sys.executable, "-c", DIE_WITH_PARENT, str(os.getpid()), sys.executable, *words[1:]]
    path = Path(logs) / f"ray-{socket.gethostname()}-{os.getpid()}.log"
    env = {**os.environ, **settings, JOB_VARIABLE: f"Ray worker {os.getpid()}", LOG_VARIABLE: str(path)}
    with path.open("ab") as log:
        process = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        while process.poll() is None:  # not `wait`, which a cancellation does not interrupt
            time.sleep(LOOK_S)
    finally:
        process.terminate()  # it ends its cell and gives the claim back
        with suppress(subprocess.TimeoutExpired):
            process.wait(LEAVE_S)
        process.kill()
    return process.returncode
