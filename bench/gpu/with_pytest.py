"""The tests marked ``gpu`` that are not checks of the list, by pytest where it is installed."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

from bench.gpu.job import NO_PYTEST, Job, Result

TESTS = Path(__file__).parents[2] / "tests" / "test_gpu.py"
OPTIONS = (
    "-q", "--noconftest", "-p", "no:cacheprovider", "-p", "no:xdist", "-m", "gpu and not slow",
    "-k", "not check_of_the_list",  # the part ``checks`` has run them
)  # fmt: skip


def run(job: Job) -> Result:
    """Run ``tests/test_gpu.py`` without the tests that take minutes, which other parts measure."""
    if importlib.util.find_spec("pytest") is None:
        return Result(NO_PYTEST, status=NO_PYTEST)
    command = [sys.executable, "-m", "pytest", str(TESTS), *OPTIONS]
    ended = subprocess.run(command, cwd=TESTS.parents[1], capture_output=True, text=True, check=False)
    lines = (ended.stdout + ended.stderr).strip().splitlines()
    summary = next((line for line in reversed(lines) if re.search(r"\d+ (passed|failed|skipped|error)", line)), "")
    if ended.returncode:
        raise RuntimeError("\n".join([summary, *lines[-60:]]))
    return Result(summary.strip("= "), {"output": lines[-20:]}, job.decided("skipped" not in summary))
