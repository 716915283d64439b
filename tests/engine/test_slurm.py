"""`bench run --executor slurm`: with commands that only look like Slurm's, and with a real Slurm on this machine.

``BENCH_TEST_CLUSTER=1`` adds the tests on a real Slurm, and one that waits as long; together they take minutes.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import slurm_cluster
from click.testing import CliRunner
from test_shared_folder import TESTS, assert_done_once
from toy import write_squares, write_suite

from bench.cli.main import main
from bench.engine.executors.fleet import FleetError, WorkerCommand
from bench.engine.executors.slurm import SlurmJobs
from bench.engine.session import Session, prepare
from bench.errors import ConfigError
from bench.store.cell_folders import Artifacts
from bench.store.live import live_cells
from bench.suite.resources import Resources

RUNS: list[subprocess.Popen[bytes]] = []  # that a test has started
PATIENCE_S = 600.0
CLUSTER = os.environ.get("BENCH_TEST_CLUSTER") == "1"
long = pytest.mark.skipif(not CLUSTER, reason="set BENCH_TEST_CLUSTER=1; the tests of Slurm take minutes")
# Commands with Slurm's options, whose jobs are processes of this machine. One file a task: number of its process.
FAKE = {
    "sbatch": """
tasks = next(int(word.partition("-0-")[2] or word.rpartition("-")[2]) for word in argv if word.startswith("--array="))
log = next(word for word in argv if word.startswith("--output=")).partition("=")[2]
script = sys.stdin.read()
(folder / "script").write_text(script)
(folder / "words").write_text("\\n".join(argv))
job = str(len(list(folder.glob("*.task"))) + 1)
for task in map(str, range(tasks + 1)):
    env = {**os.environ, "SLURM_ARRAY_JOB_ID": job, "SLURM_ARRAY_TASK_ID": task}
    with open(log.replace("%A", job).replace("%a", task), "ab") as f:
        p = subprocess.Popen(["sh", "-c", script], env=env, stdout=f, stderr=f, start_new_session=True)
    (folder / f"{job}_{task}.task").write_text(str(p.pid))
print("Submitted batch job", job)
""",
    "squeue": """
for path in folder.glob("*.task"):
    status = pathlib.Path("/proc", path.read_text(), "status")
    if status.exists() and "State:\\tZ" not in status.read_text():
        print(path.stem)
""",
    "scancel": """
for path in folder.glob("*.task"):
    try:
        os.killpg(int(path.read_text()), signal.SIGTERM)
    except ProcessLookupError:
        pass
""",
}
# Pauses in a training, of a length that does not belong to its settings: the local run has none
SLOW = """
import os, time
from toy import Toy

class Slow(Toy):
    def fit(self, data, ctx):
        log = ctx.log
        def slow_log(*values):
            time.sleep(float(os.environ.get("BENCH_TEST_SLEEP_S", "0")))
            log(*values)
        ctx.log = slow_log
        super().fit(data, ctx)
"""


def write_command(folder: Path, name: str, code: str) -> None:
    head = f"#!{sys.executable}\nimport os, pathlib, signal, subprocess, sys\n"
    head += f"folder, argv = pathlib.Path({str(folder)!r}), sys.argv[1:]\n"
    (folder / name).write_text(head + code)
    (folder / name).chmod(0o755)


@pytest.fixture(autouse=True)
def _no_run_is_left() -> Iterator[None]:
    yield
    while RUNS:
        run = RUNS.pop()
        run.terminate()  # cancels its jobs
        run.wait()


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of commands that look like Slurm's, first in PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, code in FAKE.items():
        write_command(folder, name, code)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    yield folder
    subprocess.run([folder / "scancel"], check=True)


def jobs(out: Path, resources: Resources) -> SlurmJobs:
    return SlurmJobs(WorkerCommand(out, "s", "cpu", 1, minutes=30), resources)


def test_the_options_of_a_job(fake: Path, tmp_path: Path) -> None:
    resources = Resources(30, 4, 2.5, 1, {"partition": "gpu", "exclusive": True})
    jobs(tmp_path / "o ut", resources).start(3)
    words = (fake / "words").read_text().splitlines()
    assert {"--array=0-2", "--time=30", "--cpus-per-task=4", "--mem=2500M", "--gpus=1", "--partition=gpu"} < {*words}
    assert {"--exclusive", "--requeue", f"--output={tmp_path}/o ut/logs/s/%A_%a.log"} < {*words}
    assert f"worker --out '{tmp_path}/o ut' --name s" in (fake / "script").read_text()


def test_jobs_are_found_by_their_name_and_cancelled(fake: Path, tmp_path: Path) -> None:
    write_command(fake, "sleeper", "import time; time.sleep(60)")
    first = jobs(tmp_path / "out", Resources(30))
    first._command = type("Sleeper", (), {"words": (str(fake / "sleeper"),)})()  # type: ignore[assignment]
    first.start(2)
    assert jobs(tmp_path / "out", Resources(30)).alive() == 2  # a later `bench run` sees them too
    first.stop()
    end = time.monotonic() + 20
    while first.alive() and time.monotonic() < end:
        time.sleep(0.05)
    assert first.alive() == 0


def test_errors_of_slurm_are_shown(fake: Path, tmp_path: Path) -> None:
    write_command(fake, "sbatch", "sys.exit('sbatch: error: invalid partition specified: gpus')")
    with pytest.raises(FleetError, match=r"^sbatch --array=0-0 .* failed: sbatch: error: invalid partition .*: gpus"):
        jobs(tmp_path / "out", Resources(30)).start(1)
    with pytest.raises(ConfigError, match=r"gpus: got 0.5; Slurm gives whole GPUs"):
        jobs(tmp_path, Resources(gpus=0.5))


def test_without_slurm_the_missing_commands_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FleetError, match="sbatch, squeue, scancel not found"):
        jobs(tmp_path, Resources())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--executor", "slurm"], "--executor slurm needs --workers"),
        (["--executor", "slurm", "--workers", "2", "--jobs", "2"], "takes neither --jobs nor --trace"),
        (["--workers", "2"], "--workers: only with --executor slurm or ray; on this machine use --jobs"),
    ],
)
def test_options_that_exclude_each_other(options: list[str], message: str) -> None:
    found = CliRunner().invoke(main, ["run", "ci", *options])
    assert found.exit_code == 2
    assert message in found.output


def test_a_stage_that_is_mistyped_is_named(tmp_path: Path) -> None:
    found = CliRunner().invoke(main, ["worker", "--out", str(tmp_path), "--stages", "fit,clasify"])
    assert found.exit_code == 2
    assert "--stages: unknown stage 'clasify'" in found.output
    assert "classify" in found.output


class Cluster:
    """A suite, its shared output folder, and `bench run` for it on a cluster."""

    def __init__(self, folder: Path, sleep_s: float = 0.0, **changes: Any) -> None:
        self.folder = folder
        write_squares(folder / "data")
        (folder / "slow_toy.py").write_text(SLOW)
        methods = {"none": {}, "slow": {"use": "slow_toy:Slow", "steps": 30}}
        settings = {"methods": methods, "explain": {"images_per_class": 0}, "ratios": [1.0], **changes}
        write_suite(folder / "s.yaml", **settings)
        path = os.pathsep.join([str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])])
        self.env = {k: v for k, v in os.environ.items() if k != "BENCH_IN_PROCESS"}
        self.env |= {"BENCH_TEST_SLEEP_S": str(sleep_s), "PYTHONPATH": path, "BENCH_LEASE_S": "5"}
        self.out = folder / "shared"

    def run(self) -> subprocess.Popen[bytes]:
        """Start `bench run` with two workers."""
        words = ["run", "s.yaml", "--data", "data", "--out", "shared", "--device", "cpu"]
        with (self.folder / "run.log").open("ab") as log:
            found = subprocess.Popen(
                [sys.executable, "-m", "bench.cli", *words, "--executor", "slurm", "--workers", "2"],
                cwd=self.folder, env=self.env, stdout=log, stderr=log, preexec_fn=slurm_cluster.end_with_parent,
            )  # fmt: skip
        RUNS.append(found)
        return found

    def wait_for(self, condition: Callable[[], Any], run: subprocess.Popen[bytes]) -> Any:
        """Return the value of a condition as soon as it is true; an error if the run ends before."""
        end = time.monotonic() + PATIENCE_S
        while not (found := condition()):
            assert run.poll() is None, self.logs()
            assert time.monotonic() < end, self.logs()
            time.sleep(0.1)
        return found

    def step_reached(self, step: int) -> bool:
        """Return whether a training that runs now has reached a step."""
        found = [Artifacts(self.out).progress(*cell.key.split("/")) for cell in live_cells(self.out)]
        return any((state or {}).get("step", 0) >= step for state in found)

    def finish(self, run: subprocess.Popen[bytes]) -> None:
        """Wait for the run; its numbers and files are those of a local run, each row is there once."""
        assert run.wait(PATIENCE_S) == 0, self.logs()
        assert_done_once(self.session("shared"), self.session("alone"))

    def session(self, out: str) -> Session:
        return prepare(str(self.folder / "s.yaml"), (), self.folder / "data", self.folder / out)

    def logs(self) -> str:
        return "\n".join(p.read_text() for p in [self.folder / "run.log", *self.out.glob("logs/*/*.log")])


@long
def test_a_failure_names_its_job_and_log_and_is_tried_once(fake: Path, tmp_path: Path) -> None:
    failing = {"none": {}, "toy": {"use": "toy:Toy", "fail_at": 2}}
    cluster = Cluster(tmp_path, methods=failing, split={"folds": 2, "validation_fraction": 0.3})
    assert cluster.run().wait(PATIENCE_S) == 1, cluster.logs()
    text = (tmp_path / "run.log").read_text()
    lines = [line for line in text.splitlines() if line.startswith("fit toy") and "injected failure (Slurm job" in line]
    assert len(lines) == 2, cluster.logs()
    assert Path(lines[0].rpartition("log ")[2].rstrip(")")).is_file()
    rows = [json.loads(line) for line in (cluster.out / "results.jsonl").read_text().splitlines()]
    assert [row["stage"] for row in rows if row["status"] == "failed"].count("fit") == 2


@long
def test_jobs_continue_when_the_login_shell_ends_and_the_next_run_finds_them(fake: Path, tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, sleep_s=0.5)
    run = cluster.run()
    cluster.wait_for(lambda: cluster.step_reached(3), run)
    run.send_signal(signal.SIGHUP)
    assert run.wait(PATIENCE_S) == -signal.SIGHUP
    cluster.finish(cluster.run())
    assert sorted(path.stem for path in fake.glob("*.task")) == ["1_0", "1_1"], cluster.logs()


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The configuration of a real Slurm."""
    if reason := slurm_cluster.why_not():
        pytest.skip(reason)
    with ExitStack() as stack:
        try:
            conf = stack.enter_context(slurm_cluster.running(tmp_path_factory.mktemp("slurm")))
        except RuntimeError as e:  # the machine does not allow it: a container with few rights
            pytest.skip(f"Slurm does not start here: {e}")
        yield conf


@pytest.fixture
def real(slurm: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, with SLURM_CONF set."""
    monkeypatch.setenv("SLURM_CONF", str(slurm))
    return slurm


def job_of(conf: Path) -> str:
    return slurm_cluster.slurm(conf, "squeue", "--noheader", "--array", "--states=RUNNING", "--format=%i").split()[0]


@long
def test_a_cancelled_and_a_requeued_job_change_no_number(real: Path, tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, sleep_s=1.0)
    run = cluster.run()
    cluster.wait_for(lambda: cluster.step_reached(3), run)
    slurm_cluster.slurm(real, "scancel", job_of(real))
    cluster.wait_for(lambda: cluster.step_reached(10), run)
    requeued = job_of(real)
    slurm_cluster.slurm(real, "scontrol", "requeue", requeued)
    queued = ("squeue", "--noheader", "--array", "--states=PENDING", "--format=%i")
    cluster.wait_for(lambda: requeued in slurm_cluster.slurm(real, *queued).split(), run)
    slurm_cluster.slurm(real, "scontrol", "update", f"JobId={requeued}", "StartTime=now")  # Slurm waits for two minutes
    cluster.finish(run)
    log = next(cluster.out.glob(f"logs/*/{requeued}.log")).read_text()
    assert log.count("run s: 18 cells") == 2, log  # it started twice


@long
def test_ctrl_c_cancels_the_jobs_and_the_next_run_continues(real: Path, tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, sleep_s=0.5)
    run = cluster.run()
    cluster.wait_for(lambda: cluster.step_reached(3), run)
    run.send_signal(signal.SIGINT)
    assert run.wait(PATIENCE_S) == 130, cluster.logs()
    end = time.monotonic() + 60
    while slurm_cluster.slurm(real, "squeue", "--noheader") and time.monotonic() < end:
        time.sleep(0.2)
    assert not slurm_cluster.slurm(real, "squeue", "--noheader")
    assert not live_cells(cluster.out)
    assert list(cluster.out.glob("cells/fit/*.partial/checkpoint.pt"))
    cluster.finish(cluster.run())


@long
def test_a_time_limit_that_is_too_short_is_met_by_more_jobs(real: Path, tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, sleep_s=4.0, resources={"default": {"minutes": 1}})
    cluster.finish(cluster.run())
    assert "DUE TO TIME LIMIT" in cluster.logs()
