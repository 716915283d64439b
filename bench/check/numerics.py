"""Emulation of the numerics of other machines on one machine.

On a CPU a suite is bit-reproducible. Other machines have other vector instructions, other kernels of mathematical
libraries, and another division of sums over threads: losses differ in the last digits, and training amplifies this. A
suite's spread is therefore measured under several numerics, each in a separate process, because libraries read their
settings when they are loaded.
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
    """One set of numerics: environment variables for the libraries, assignments (as for ``--set``) for the suite."""

    name: str
    environment: Mapping[str, str] = field(default_factory=dict)
    assignments: tuple[str, ...] = ()
    costs: int = 1  # how often steps are measured; the median is used


def ways() -> list[Numerics]:
    """Return the numerics of a baseline. The first one is the default of the machine."""
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
    patient = {"OMP_WAIT_POLICY": "PASSIVE"}  # waiting threads must not spin while other cells run
    found = [
        Numerics("as is", costs=5),  # its costs are stored in the baseline
        Numerics("as is, again"),
        Numerics("AVX2", avx2),
        Numerics("SSE 4.1", old, costs=0),  # such machines no longer exist, so their times are not useful
        Numerics("AVX", {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX"}, costs=0),
        Numerics("torch's own kernels without vectors", {"ATEN_CPU_CAPABILITY": "default"}),
        Numerics("2 threads a cell", patient, ("threads=2",), costs=0),  # steps are always measured in one thread
    ]
    if available_cpus() >= 3:  # with fewer cores, three threads mostly wait for each other
        found.append(Numerics("AVX2, 3 threads a cell", {**avx2, **patient}, ("threads=3",), costs=0))
    return found


def numpy_extensions() -> list[str]:
    """Return the SIMD extensions that NumPy can disable on this machine."""
    import numpy as np

    config = np.show_config(mode="dicts")
    return list(config.get("SIMD Extensions", {}).get("found", [])) if isinstance(config, dict) else []


@dataclass(frozen=True)
class Request:
    """A request to a measuring process: a new run of a suite in ``out``, with its rows written to ``answer``."""

    suite: str
    assignments: tuple[str, ...]
    data: str | None
    out: str
    device: str
    jobs: int | None
    answer: str = ""  # a file
    costs: int = 1


def measure_under(numerics: Numerics, request: Request) -> None:
    """Run a request in a separate process. Raises ``BenchError`` with the end of its output if it fails."""
    environment = {**os.environ, **numerics.environment}
    spec = json.dumps(
        {**request.__dict__, "assignments": [*request.assignments, *numerics.assignments], "costs": numerics.costs}
    )
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "bench.check.process", spec],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if run.returncode:
        output = (run.stderr or run.stdout).strip()[-2000:]
        raise BenchError(f"the run with numerics {numerics.name!r} ended with code {run.returncode}:\n{output}")
