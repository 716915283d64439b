"""Identity of the numerics of a process: with equal identities, equal code gives bit-identical results on a CPU."""

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
    """Return 16 hex digits for everything that affects the bits of a result: processor, libraries, their settings.

    The result of a few training steps is included, because processors with the same name may differ. '' on a GPU,
    whose sums have no fixed order.
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
