"""NVML of the NVIDIA driver by ctypes, for hosts without nvidia-ml-py: energy and power only, under pynvml's names.

https://docs.nvidia.com/deploy/nvml-api/group__nvmlDeviceQueries.html
"""

from __future__ import annotations

import ctypes
from typing import Any

LIBRARY = "libnvidia-ml.so.1"


class DriverLibrary:
    """The driver's library. Raises ``OSError`` if there is none; a call that fails raises ``RuntimeError``."""

    def __init__(self) -> None:
        self._library: Any = ctypes.CDLL(LIBRARY)

    def nvmlInit(self) -> None:  # noqa: N802
        """Start the library."""
        self._call("nvmlInit_v2")

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> ctypes.c_void_p:  # noqa: N802
        """Return the handle of a device, 'GPU-…'."""
        handle = ctypes.c_void_p()
        self._call("nvmlDeviceGetHandleByUUID", ctypes.c_char_p(uuid.encode()), ctypes.byref(handle))
        return handle

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: ctypes.c_void_p) -> int:  # noqa: N802
        """Return the millijoules since the driver was loaded."""
        energy = ctypes.c_ulonglong()
        self._call("nvmlDeviceGetTotalEnergyConsumption", handle, ctypes.byref(energy))
        return energy.value

    def nvmlDeviceGetPowerUsage(self, handle: ctypes.c_void_p) -> int:  # noqa: N802
        """Return the milliwatts."""
        power = ctypes.c_uint()
        self._call("nvmlDeviceGetPowerUsage", handle, ctypes.byref(power))
        return power.value

    def _call(self, name: str, *arguments: Any) -> None:
        code = getattr(self._library, name)(*arguments)
        if code:
            raise RuntimeError(f"{name}: NVML returned error {code}")
