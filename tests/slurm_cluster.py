"""A real Slurm on this machine for tests: munged, slurmctld and slurmd of one node, in a folder and on free ports."""

from __future__ import annotations

import ctypes
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "scontrol")
START_S = 60.0
CONF = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
ProctrackType=proctrack/pgid
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
ReturnToService=2
KillWait=10
MpiDefault=none
SlurmdParameters=config_overrides
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
NodeName=localhost NodeAddr=127.0.0.1 NodeHostname={host} CPUs=2 RealMemory=8000 State=UNKNOWN
PartitionName=main Nodes=localhost Default=YES MaxTime=INFINITE State=UP
"""


def why_not() -> str:
    """Return why Slurm cannot be started here; '' if it can."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin"
    if missing := [name for name in PROGRAMS if not shutil.which(name, path=path)]:
        return f"not installed: {', '.join(missing)} (Debian: apt-get install slurmctld slurmd slurm-client munge)"
    return "" if os.geteuid() == 0 else "Slurm is started by root only"


@contextmanager
def running(folder: Path) -> Iterator[Path]:
    """Run a cluster of one node with two processors in a block; yield its slurm.conf, for SLURM_CONF."""
    for name in ("state", "spool"):
        (folder / name).mkdir()
    key, conf = folder / "munge.key", folder / "slurm.conf"
    key.write_bytes(secrets.token_bytes(128))
    key.chmod(0o400)
    ports = dict(zip(("controller_port", "node_port"), _free_ports(2), strict=True))
    conf.write_text(CONF.format(host=socket.gethostname(), folder=folder, **ports))
    files = {"key-file": key, "socket": folder / "munge.socket", "pid-file": folder / "munged.pid"}
    files |= {"log-file": folder / "munged.log", "seed-file": folder / "munged.seed"}
    munged = ["munged", "--foreground", "--force", *(f"--{name}={path}" for name, path in files.items())]
    with ExitStack() as stack:
        stack.enter_context(_daemon(munged, conf))
        _wait(lambda: files["socket"].exists(), "munged", folder)
        stack.enter_context(_daemon(["slurmctld", "-D"], conf))
        stack.enter_context(_daemon(["slurmd", "-D", "-N", "localhost"], conf))
        _wait(lambda: "idle" in slurm(conf, "sinfo", "--noheader", "--format=%T"), "slurmd", folder)
        yield conf
        slurm(conf, "scancel", "--user=root")
        _wait(lambda: not slurm(conf, "squeue", "--noheader").strip(), "the end of all jobs", folder)


def end_with_parent() -> None:
    """Have this new process end when its parent does, even by SIGKILL: a killed test run leaves no daemons."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def slurm(conf: Path, *words: str) -> str:
    """Return the output of a command of Slurm; '' if it fails."""
    return subprocess.run(words, capture_output=True, text=True, env=_env(conf), check=False).stdout


def _env(conf: Path) -> dict[str, str]:
    return {**os.environ, "SLURM_CONF": str(conf), "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin"}


@contextmanager
def _daemon(words: Sequence[str], conf: Path) -> Iterator[None]:
    with conf.with_name(f"{words[0]}.out").open("wb") as log:
        process = subprocess.Popen(
            words, env=_env(conf), stdout=log, stderr=log, start_new_session=True, preexec_fn=end_with_parent
        )
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(condition: Callable[[], object], name: str, folder: Path) -> None:
    end = time.monotonic() + START_S
    while not condition():
        if time.monotonic() > end:
            logs = "\n".join(
                f"{p.name}:\n{p.read_text()[-2000:]}" for p in [*folder.glob("*.log"), *folder.glob("*.out")]
            )
            raise RuntimeError(f"{name}: not there after {START_S:.0f} s\n{logs}")
        time.sleep(0.2)


def _free_ports(number: int) -> list[int]:
    with ExitStack() as stack:
        found = [stack.enter_context(socket.socket()) for _ in range(number)]
        for s in found:
            s.bind(("127.0.0.1", 0))
        return [s.getsockname()[1] for s in found]
