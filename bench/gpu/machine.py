"""The machine and the versions behind the results."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from bench.cost.energy import EnergyMeter
from bench.cost.host import cpu_name, describe_host, git_commit

PACKAGES = ("torch", "torchvision", "timm", "numpy", "scipy", "pandas", "scikit-learn", "matplotlib", "pillow")


def describe(device: str) -> dict[str, Any]:
    """Return device, host, memory, CUDA, versions, and whether energy can be measured. Raises torch's errors."""
    import torch

    torch.ones(2, device=device).sum().item()
    with EnergyMeter(device) as energy:
        pass
    found = {
        "device": cpu_name(),
        "host": describe_host(device),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in PACKAGES},
        "code": git_commit(),
        "energy": bool(energy.costs()),
    }
    if device.startswith("cuda"):
        properties = torch.cuda.get_device_properties(device)
        found |= {
            "device": properties.name,
            "memory_bytes": properties.total_memory,
            "capability": f"{properties.major}.{properties.minor}",
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
        }
    return found


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
