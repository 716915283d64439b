"""Workers in Slurm jobs, by the commands ``sbatch``, ``squeue`` and ``scancel``.

Slurm's queue is the only record of the jobs: they are found by their name, also by a later `bench run`.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Sequence

from bench.config import stable_hash
from bench.cost.host import JOB_VARIABLE, LOG_VARIABLE
from bench.engine.executors.fleet import FleetError, WorkerCommand
from bench.errors import ConfigError
from bench.suite.resources import Resources

COMMANDS = ("sbatch", "squeue", "scancel")
ALIVE = "PENDING,CONFIGURING,RUNNING,SUSPENDED,COMPLETING"
TIMEOUT_S = 120.0  # of a command
SCRIPT = """#!/bin/sh
job="${{SLURM_ARRAY_JOB_ID}}_${{SLURM_ARRAY_TASK_ID}}"
export {job_variable}="Slurm job $job" {log_variable}={folder}/"$job.log"
exec {command}
"""  # exec: the signals of Slurm reach the worker itself


class SlurmJobs:
    """The tasks of array jobs; each runs one worker with the same command and resources."""

    where = "Slurm jobs"

    def __init__(self, command: WorkerCommand, resources: Resources) -> None:
        if missing := [name for name in COMMANDS if not shutil.which(name)]:
            raise FleetError(f"--executor slurm: {', '.join(missing)} not found; run it where Slurm's commands are")
        if resources.gpus and resources.gpus % 1:
            raise ConfigError(f"resources: gpus: got {resources.gpus}; Slurm gives whole GPUs, expected 0, 1, 2, …")
        self._command, self._resources = command, resources
        self._folder = command.out / "logs" / command.name
        self._name = f"bench-{command.name}-{stable_hash([str(command.out), command.name, command.stages])[:8]}"

    def start(self, number: int) -> None:
        """Submit an array job of so many workers."""
        self._folder.mkdir(parents=True, exist_ok=True)
        script = SCRIPT.format(
            job_variable=JOB_VARIABLE, log_variable=LOG_VARIABLE,
            folder=shlex.quote(str(self._folder)), command=shlex.join(self._command.words),
        )  # fmt: skip
        _call(["sbatch", f"--array=0-{number - 1}", *self._options()], script)

    def _options(self) -> list[str]:
        r = self._resources
        log = str(self._folder).replace("%", "%%") + "/%A_%a.log"
        found = {"job-name": self._name, "output": log, "open-mode": "append", "requeue": True, "ntasks": 1}
        found |= {"time": r.minutes, "cpus-per-task": r.cpus, "gpus": int(r.gpus or 0) or None}
        found |= {"mem": f"{round(1000 * r.memory_gb)}M" if r.memory_gb else None, **r.slurm}
        return [f"--{k}" if v is True else f"--{k}={v}" for k, v in found.items() if v not in (None, False)]

    def alive(self) -> int:
        """Return the number of tasks that wait, run or are ending."""
        tasks = _call(["squeue", "--noheader", "--array", f"--states={ALIVE}", "--format=%i", *self._mine()])
        return len(tasks.split())

    def stop(self) -> None:
        """Cancel all tasks, which end their cells at once."""
        _call(["scancel", *self._mine()])

    def _mine(self) -> list[str]:
        return [f"--user={os.getuid()}", f"--name={self._name}"]

    def logs(self) -> str:
        """Return the folder of the logs, and the command that shows the jobs."""
        return f"squeue --name={self._name}, logs in {self._folder}"


def _call(words: Sequence[str], text: str = "") -> str:
    """Return the output of a command with ``text`` as input; Ctrl-C does not reach it. Raises ``FleetError``."""
    try:
        found = subprocess.run(
            words, input=text, capture_output=True, text=True, timeout=TIMEOUT_S, start_new_session=True, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as e:
        raise FleetError(f"{words[0]}: {e}") from e
    if found.returncode:
        raise FleetError(f"{shlex.join(words)} failed: {found.stderr.strip() or f'exit code {found.returncode}'}")
    return found.stdout
