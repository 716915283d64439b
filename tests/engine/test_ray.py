"""Workers on a Ray cluster: two nodes give the numbers of one process, also if one is killed in the middle.

The nodes are processes on this machine under other host names, which therefore cannot see each other's processes.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from test_shared_folder import LEASE_S, TESTS, assert_done_once, suite

from bench.cost.host import LOG_VARIABLE
from bench.engine.executors import ray_cluster
from bench.engine.executors.fleet import FleetExecutor, WorkerCommand
from bench.engine.executors.ray_cluster import RayWorkers, run_worker
from bench.engine.scheduler import Listener, Runner
from bench.engine.session import Session
from bench.errors import BenchError, ConfigError
from bench.plan.plan import Cell
from bench.store.heartbeat import HOST_VARIABLE, LEASE_VARIABLE
from bench.store.live import LiveCell, live_cells
from bench.suite.resources import Resources
from bench.types import ResultRow

PATIENCE_S = 60.0
GIB = 2**30


class FakeRay:
    """A cluster of ``nodes`` whose tasks are names; ``ended`` are those that have ended, each with its error."""

    exceptions = SimpleNamespace(RayError=RuntimeError)

    def __init__(self, *nodes: dict[str, float]) -> None:
        self._nodes = nodes
        self.options: dict[str, Any] = {}
        self.started: list[str] = []
        self.ended: dict[str, Exception | None] = {}
        self.calls: list[str] = []
        self.connected = False

    def is_initialized(self) -> bool:
        return self.connected

    def init(self, address: str, **options: Any) -> None:
        self.calls.append(f"init {address}")
        if address != "local":
            raise ConnectionError("none")
        self.connected = True
        assert not options["include_dashboard"]
        assert not options["log_to_driver"]

    def nodes(self) -> list[dict[str, Any]]:
        return [{"Alive": True, "Resources": node} for node in self._nodes]

    def remote(self, function: Callable[..., Any]) -> Any:
        def options(**given: Any) -> Any:
            self.options = given
            return SimpleNamespace(remote=self._submit)

        return SimpleNamespace(options=options)

    def _submit(self, words: Sequence[str], settings: dict[str, str], logs: str) -> str:
        self.settings = settings
        self.started.append(f"task{len(self.started)}")
        return self.started[-1]

    def wait(self, tasks: list[str], **options: Any) -> tuple[list[str], list[str]]:
        return [t for t in tasks if t in self.ended], [t for t in tasks if t not in self.ended]

    def get(self, task: str) -> None:
        if error := self.ended[task]:
            raise error

    def cancel(self, task: str, force: bool) -> None:
        self.calls.append(f"cancel {task}{' by force' if force else ''}")
        if force:
            self.ended[task] = None

    def shutdown(self) -> None:
        self.connected = False
        self.calls.append("shutdown")


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeRay:
    ray = FakeRay({"CPU": 2.0, "memory": 4e9}, {"CPU": 4.0, "GPU": 1.0, "memory": 8e9})
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setattr(RayWorkers, "_sharing", [])
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    return ray


def command(out: Path, device: str = "cpu") -> WorkerCommand:
    return WorkerCommand(out, "s", device, 1)


def test_a_worker_that_ended_is_counted_and_its_problem_named(fake: FakeRay, tmp_path: Path) -> None:
    fleet = RayWorkers(command(tmp_path), Resources())
    fleet.start(2)
    assert (fake.calls, fleet.alive()) == (["init auto", "init local"], 2)
    fake.ended["task0"] = RuntimeError("Traceback\nthe node died")
    assert fleet.alive() == 1
    assert fleet.logs() == f"logs in {tmp_path / 'logs' / 's'}; the last problem: the node died"
    fleet.stop()
    assert fake.calls[2:] == ["cancel task1", "cancel task1 by force", "shutdown"]
    assert fleet.alive() == 0


def test_a_connection_is_shut_down_by_its_last_user(fake: FakeRay, tmp_path: Path) -> None:
    fleets = [RayWorkers(command(tmp_path), Resources()) for _ in range(2)]
    for fleet in fleets:
        fleet.start(1)
    fleets[0].stop()
    assert fake.calls == ["init auto", "init local", "cancel task0", "cancel task0 by force"]
    fleets[1].stop()
    assert fake.calls[4:] == ["cancel task1", "cancel task1 by force", "shutdown"]


def test_a_connection_of_the_caller_is_kept(fake: FakeRay, tmp_path: Path) -> None:
    fake.connected = True
    fleet = RayWorkers(command(tmp_path), Resources())
    fleet.start(1)
    fleet.stop()
    assert fake.calls == ["cancel task0", "cancel task0 by force"]


def test_resources_and_settings_reach_the_task(fake: FakeRay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(HOST_VARIABLE, "coordinator")
    monkeypatch.setenv(LEASE_VARIABLE, "7")
    RayWorkers(command(tmp_path, "cuda:0"), Resources(gpus=0.25, memory_gb=2)).start(1)
    given = {k: fake.options[k] for k in ("num_cpus", "num_gpus", "memory", "max_retries")}
    assert given == {"num_cpus": 1, "num_gpus": 0.25, "memory": 2_000_000_000, "max_retries": 0}
    assert fake.settings[LEASE_VARIABLE] == "7"
    assert not {HOST_VARIABLE, "CUDA_VISIBLE_DEVICES"} & set(fake.settings)
    RayWorkers(command(tmp_path, "cuda:0"), Resources()).start(1)
    assert fake.options["num_gpus"] == 1
    RayWorkers(command(tmp_path), Resources()).start(1)
    assert fake.options["num_gpus"] == 0
    assert fake.settings["CUDA_VISIBLE_DEVICES"] == ""


def test_needs_that_no_node_has_are_an_error(fake: FakeRay, tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"got 2 CPU, 0 GPU, 4 GB; 4 CPU, 1 GPU, 8 GB; needed 4 CPU, 2 GPU, 0 GB"):
        RayWorkers(command(tmp_path), Resources(cpus=4, gpus=2)).start(1)
    with pytest.raises(ConfigError, match=r"got 1\.5; for Ray, expected a fraction below 1 or a whole number"):
        RayWorkers(command(tmp_path), Resources(gpus=1.5))


def test_no_cluster_at_a_given_address_is_an_error(
    fake: FakeRay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    with pytest.raises(BenchError, match=r"no Ray cluster answers at 10\.0\.0\.1:6379"):
        RayWorkers(command(tmp_path), Resources()).start(1)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(BenchError, match=r"pip install 'augbench\[ray\]'"):
        RayWorkers(command(tmp_path), Resources()).start(1)


def test_a_node_without_the_output_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="expected an output folder that all nodes share"):
        run_worker(["python"], {}, str(tmp_path / "absent"))


def test_the_task_returns_the_exit_code_and_keeps_the_output(tmp_path: Path) -> None:
    words = ["python", "-c", f"import os, sys; print(*map(os.getenv, ['BENCH_X', '{LOG_VARIABLE}'])); sys.exit(3)"]
    assert run_worker(words, {"BENCH_X": "given"}, str(tmp_path)) == 3
    log = next(tmp_path.glob("ray-*.log"))
    assert log.read_text() == f"given {log}\n"


@pytest.mark.skipif(sys.platform != "linux", reason="the signal at the death of the parent exists on Linux only")
def test_no_process_is_left_when_the_task_s_process_is_killed(tmp_path: Path) -> None:
    child = f"import os, time; print(os.getpid(), flush=True); time.sleep({PATIENCE_S})"
    code = f"from {ray_cluster.__name__} import run_worker; run_worker(['python', '-c', {child!r}], {{}}, '.')"
    task = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path)
    wait_for(lambda: any(log.read_text().endswith("\n") for log in tmp_path.glob("*.log")))
    task.kill()
    task.wait()
    pid = int(next(tmp_path.glob("*.log")).read_text())
    wait_for(lambda: not runs(pid))


CANCELLED = """
import _thread, signal, threading, time
from pathlib import Path
from bench.engine.executors.ray_cluster import run_worker

def cancel():
    while not any("ready" in log.read_text() for log in Path().glob("*.log")):
        time.sleep(0.02)
    _thread.interrupt_main()

signal.signal(signal.SIGINT, signal.SIG_IGN)  # inherited by what a script starts in the background
threading.Thread(target=cancel, daemon=True).start()
run_worker(["python", "-c", WORKER], {}, ".")
"""
WORKER = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))
print("ready", flush=True)
time.sleep(60)
"""


def test_a_cancelled_task_lets_its_process_end_by_itself(tmp_path: Path) -> None:
    code = CANCELLED.replace("WORKER", repr(WORKER))
    task = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, timeout=PATIENCE_S)
    assert b"KeyboardInterrupt" in task.stderr
    assert next(tmp_path.glob("*.log")).read_text() == "ready\nended\n"


def wait_for(condition: Callable[[], Any]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


def runs(pid: int) -> bool:
    """Return whether a process runs; one that has ended and that nobody waits for does not."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A Ray cluster of two nodes with one CPU each, ``first`` and ``second``."""
    pytest.importorskip("ray", reason="needs the extra `ray`")
    from ray.cluster_utils import Cluster

    paths = [str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    monkeypatch.setenv(LEASE_VARIABLE, str(LEASE_S))
    monkeypatch.setenv("BENCH_IN_PROCESS", "1")
    made = Cluster()
    try:
        for name in ("first", "second"):
            node = {"num_cpus": 1, "memory": GIB, "include_dashboard": False, "env_vars": {HOST_VARIABLE: name}}
            made.add_node(**node)
        monkeypatch.delenv("RAY_ADDRESS", raising=False)
        yield made
    finally:
        made.shutdown()


class Interference(Listener):
    """Kills a node of a cluster as soon as it runs a cell, once a first cell is done."""

    def __init__(self, cluster: Any, session: Session) -> None:
        self.cluster, self.out = cluster, session.env.out
        self.killed: LiveCell | None = None

    def ended_elsewhere(self, cell: Cell, row: ResultRow) -> None:
        end = time.monotonic() + PATIENCE_S
        while self.killed is None and time.monotonic() < end:
            self.killed = next((c for c in live_cells(self.out) if c.host == "second"), None)
            if self.killed:
                self.cluster.remove_node(next(iter(self.cluster.worker_nodes)), allow_graceful=False)


def run(session: Session, cluster: Any, *listeners: Listener) -> None:
    runner = Runner(session.plan.cells, session.env, listeners)
    runner.reuse()
    fleet = RayWorkers(WorkerCommand(session.env.out, session.suite.name, "cpu", 1), Resources(), cluster.address)
    summary = runner.run(lambda: FleetExecutor([(fleet, ())], 2, session.env.out))
    assert summary.exit_code == 0, (summary, fleet.logs())
    assert summary.elsewhere == len(session.plan.work)


def test_two_nodes_give_the_numbers_of_one_process(tmp_path: Path, cluster: Any) -> None:
    shared, alone = suite(tmp_path, methods={"none": {}, "toy": {"use": "toy:Toy"}})
    run(shared, cluster)
    assert_done_once(shared, alone)
    assert not live_cells(shared.env.out)
    assert len(list((shared.env.out / "logs" / shared.suite.name).glob("ray-*.log"))) >= 2  # one for each worker


def test_a_node_is_killed_in_the_middle(tmp_path: Path, cluster: Any, capfd: pytest.CaptureFixture[str]) -> None:
    shared, alone = suite(tmp_path, methods={"none": {}, "toy": {"use": "toy:Toy", "steps": 200}})
    interference = Interference(cluster, shared)
    run(shared, cluster, interference)
    assert interference.killed
    assert not runs(interference.killed.pid)
    assert "aylet" not in capfd.readouterr().out  # Ray's messages, which would be printed over the progress
    assert_done_once(shared, alone)


def test_two_workers_share_a_gpu_by_halves(tmp_path: Path) -> None:
    """The GPU is declared, not real: this tests Ray's bookkeeping. A third worker waits."""
    ray = pytest.importorskip("ray", reason="needs the extra `ray`")
    code = "import os, time; print('GPU', os.environ['CUDA_VISIBLE_DEVICES'], os.getpid(), flush=True); time.sleep(60)"
    stand_in = SimpleNamespace(out=tmp_path, name="s", device="cpu", threads=1, words=["python", "-c", code])
    ray.init("local", num_cpus=4, num_gpus=1, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    try:
        fleet = RayWorkers(stand_in, Resources(gpus=0.5))  # type: ignore[arg-type]
        fleet.start(3)
        wait_for(lambda: len(logs_of(tmp_path)) == 2)
        time.sleep(2)
        texts = logs_of(tmp_path)
        assert [text.split()[:2] for text in texts] == [["GPU", "0"]] * 2
        assert fleet.alive() == 3
        fleet.stop()
        wait_for(lambda: not any(runs(int(text.split()[2])) for text in texts))
        assert len(logs_of(tmp_path)) == 2
    finally:
        ray.shutdown()


def logs_of(out: Path) -> list[str]:
    """Return the complete outputs of the workers."""
    return [t for log in sorted((out / "logs" / "s").glob("ray-*.log")) if (t := log.read_text()).endswith("\n")]
