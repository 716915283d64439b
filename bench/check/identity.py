"""Whether two processes compute the same bits: equal identities promise equal numbers for equal code on a CPU."""

from __future__ import annotations

import hashlib
import os
import platform
from pathlib import Path

from bench.check.reference_workload import reference_bits
from bench.config import stable_hash
from bench.cost.host import cpu_name, versions

LIBRARIES = ("python", "torch", "torchvision", "timm", "torch-fidelity", "scikit-learn", "numpy")
SETTINGS = (
    "ATEN_CPU_CAPABILITY",
    "ONEDNN_MAX_CPU_ISA",
    "MKL_ENABLE_INSTRUCTIONS",
    "MKL_CBWR",
    "NPY_DISABLE_CPU_FEATURES",
)


def numerics_identity(device: str) -> str:
    """Return 16 hex digits of what decides the bits of a result here: processor, libraries, and what they are told.

    The result of a few training steps is part of it, for processors that go by one name need not be alike. '' on a
    GPU, whose sums have no fixed order: nothing is promised there.
    """
    if device != "cpu":
        return ""
    libraries = {name: versions()[name] for name in LIBRARIES}
    settings = {name: os.environ.get(name, "") for name in SETTINGS}
    machine = [platform.system(), platform.machine(), cpu_name(), _cpu_flags()]
    bits = hashlib.sha256(reference_bits()).hexdigest()
    return stable_hash([machine, libraries, settings, bits])


def _cpu_flags() -> list[str]:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("flags"):
                return sorted(line.partition(":")[2].split())
    except OSError:
        pass
    return []
