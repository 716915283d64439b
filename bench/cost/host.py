"""The machine and the library versions that a result was made with."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from bench.cost.system_memory import total_bytes
from bench.store.heartbeat import host_name

JOB_VARIABLE, LOG_VARIABLE = "BENCH_JOB", "BENCH_LOG"  # set in a job of a cluster: its name, and the file of its output
PACKAGES = ("torch", "torchvision", "timm", "torch-fidelity", "mlflow", "scikit-learn", "numpy")


@cache
def versions() -> dict[str, str]:
    """Return the versions of Python, of this project and of the libraries that affect results."""
    found = {"python": platform.python_version()}
    for name in ("augbench", *PACKAGES):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


@cache
def cpu_name() -> str:
    """Return the processor's model name."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


@cache
def _memory_gib() -> float:
    return total_bytes() / 2**30


def available_cpus() -> int:
    """Return how many cores this process may use (not how many the machine has)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


def describe_host(device: str) -> str:
    """Return a one-line description: processor, cores, memory, and the accelerator if one was used."""
    text = f"{cpu_name()}, {available_cpus()} cores, {_memory_gib():.0f} GiB"
    if device.startswith("cuda"):
        import torch

        text = f"{torch.cuda.get_device_name(device)}; {text}"
    return f"{text}, {platform.system()}"


@cache
def source_hash() -> str:
    """Return the SHA-256 (hex) of the files of this package, for a checkout or an installation."""
    root = Path(__file__).parents[1]
    found = hashlib.sha256()
    for path in sorted(p for p in root.rglob("*") if p.is_file() and "__pycache__" not in p.parts):
        found.update(f"{path.relative_to(root).as_posix()} {path.stat().st_size}\n".encode() + path.read_bytes())
    return found.hexdigest()


@cache
def git_commit() -> str:
    """Return the git commit of the checkout, with '+changes' if modified; 'unknown' outside git."""
    folder = Path(__file__).parent

    def git(*args: str) -> str:
        run = subprocess.run(["git", "-C", str(folder), *args], capture_output=True, text=True, timeout=10, check=True)
        return run.stdout.strip()

    try:
        commit = git("rev-parse", "--short=12", "HEAD")
        return commit + ("+changes" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def with_job(error: str) -> str:
    """Return the text of an error with the job of the cluster, machine and log file at the end of its first line.

    Outside a job it is unchanged.
    """
    job, log = os.environ.get(JOB_VARIABLE), os.environ.get(LOG_VARIABLE)
    if not job:
        return error
    first, *rest = error.split("\n", 1)
    return "\n".join([f"{first} ({job} on {host_name()}{f', log {log}' if log else ''})", *rest])
