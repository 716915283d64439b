"""Other machines, as far as one machine can be made to compute as they do.

On a CPU a suite gives the same bits again. Another machine has other vector instructions, other kernels of its
mathematical libraries, and another split of sums over threads: its losses differ in the last digits, and training
amplifies that. So a suite's spread is measured under several numerics, each in a process of its own, since libraries
read their settings when they are loaded.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

from bench.cost.host import available_cpus
from bench.errors import BenchError


@dataclass(frozen=True)
class Numerics:
    """One way to compute: environment variables for the libraries, assignments (as of ``--set``) for the suite."""

    name: str
    environment: Mapping[str, str] = field(default_factory=dict)
    assignments: tuple[str, ...] = ()
    costs: int = 1  # how often steps are timed; their median counts


def ways() -> list[Numerics]:
    """Return the numerics that a baseline is measured under. The first is how the machine computes by itself."""
    avx2 = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}
    old = {
        "ATEN_CPU_CAPABILITY": "default",  # torch's own kernels without vector instructions beyond SSE2
        "ONEDNN_MAX_CPU_ISA": "SSE41",
        "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
        "MKL_CBWR": "COMPATIBLE",
        "NPY_DISABLE_CPU_FEATURES": " ".join(
            numpy_extensions()
        ),  # procedural images: another grey level here and there
    }
    patient = {"OMP_WAIT_POLICY": "PASSIVE"}  # where other cells work beside it, who waits must not spin
    found = [
        Numerics("as is", costs=5),  # its costs are the baseline's
        Numerics("as is, again"),
        Numerics("AVX2", avx2),
        Numerics("SSE 4.1", old, costs=0),  # there are no such machines any more: their seconds say nothing
        Numerics("AVX", {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX"}, costs=0),
        Numerics("torch's own kernels without vectors", {"ATEN_CPU_CAPABILITY": "default"}),
        Numerics("2 threads a cell", patient, ("threads=2",), costs=0),  # steps are timed in one thread anyway
    ]
    if available_cpus() >= 3:  # on fewer cores three threads wait for each other most of the time
        found.append(Numerics("AVX2, 3 threads a cell", {**avx2, **patient}, ("threads=3",), costs=0))
    return found


def numpy_extensions() -> list[str]:
    """Return what NumPy may be told to leave alone on this machine."""
    import numpy as np

    config = np.show_config(mode="dicts")
    return list(config.get("SIMD Extensions", {}).get("found", [])) if isinstance(config, dict) else []


@dataclass(frozen=True)
class Request:
    """What a measuring process is asked for: a fresh run of a suite in ``out``, its rows written to ``answer``."""

    suite: str
    assignments: tuple[str, ...]
    data: str | None
    out: str
    device: str
    jobs: int | None
    answer: str = ""  # a file
    costs: int = 1


def measure_under(numerics: Numerics, request: Request) -> None:
    """Answer a request in a process of its own. Raises ``BenchError`` with the end of what it said, should it die."""
    environment = {**os.environ, **numerics.environment}
    spec = json.dumps(
        {**request.__dict__, "assignments": [*request.assignments, *numerics.assignments], "costs": numerics.costs}
    )
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "bench.check.process", spec],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if run.returncode:
        said = (run.stderr or run.stdout).strip()[-2000:]
        raise BenchError(f"the run under the numerics {numerics.name!r} ended with {run.returncode}:\n{said}")
