"""Every cost of a cell: key in ``ResultRow.costs``, unit and meaning. ``docs/cost.md`` shows this table.

A new cost is one member here, and one entry where it is measured. Seconds of phases have keys of their own
(``phase_s``, ``phase_device_s``), because a plug-in names its phases itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

_DEVICE_S = "_device_s"


class CostKey(StrEnum):
    """The key of a cost. A cost that was not measured is absent, never 0."""

    unit: str
    meaning: str

    def __new__(cls, key: str, unit: str, meaning: str) -> CostKey:
        """Return the key with its unit and meaning."""
        self = str.__new__(cls, key)
        self._value_, self.unit, self.meaning = key, unit, meaning
        return self

    ELAPSED_S = "elapsed_s", "s", "wall time, interrupted attempts included"
    DEVICE_S = "device_s", "s", "device time: processor time of all threads on a CPU, time of device use on CUDA"
    OVERHEAD_S = "overhead_s", "s", "wall time outside all phases"
    STEP_FIRST_S = "step_first_s", "s", "wall time of the first block of steps, which includes the warm-up"
    MEASURING_S = "measuring_s", "s", "wall time of counting operations after the training; no part of `elapsed_s`"
    GENERATOR_STEP_S = "generator_step_s", "s", "wall time of all steps, part of the generator"
    DISCRIMINATOR_STEP_S = "discriminator_step_s", "s", "wall time of all steps, part of the discriminators"
    PEAK_MEMORY_BYTES = (
        "peak_memory_bytes", "bytes", "peak memory: allocated on CUDA; of the whole process on a CPU",
    )  # fmt: skip
    PEAK_RESERVED_BYTES = "peak_reserved_bytes", "bytes", "peak memory that torch reserved on CUDA"
    ENERGY_J = "energy_j", "J", "energy of the GPU, other processes included"
    STEPS = "steps", "count", "training steps"
    PARAMETERS = "parameters", "count", "parameters of the networks"
    IMAGES_PER_S = "images_per_s", "1/s", "real images per second of training steps, or synthetic images per second"
    FLOPS_PER_STEP = "flops_per_step", "count", "floating-point operations of a step, forward and backward"
    FLOPS_PER_S = "flops_per_s", "1/s", "floating-point operations per second of training steps"
    SHARE_OF_PEAK = "share_of_peak", "share", "`flops_per_s` as a share of the machine's measured peak"
    PREDICTED_ELAPSED_S = "predicted_elapsed_s", "s", "`elapsed_s` predicted before the run"
    PREDICTED_DEVICE_S = "predicted_device_s", "s", "`device_s` predicted before the run"
    PREDICTED_PEAK_MEMORY_BYTES = (
        "predicted_peak_memory_bytes", "bytes", "`peak_memory_bytes` predicted before the run",
    )  # fmt: skip
    PREDICTED_BY_GUESS = "predicted_by_guess", "0 or 1", "whether the prediction is from cells of another kind"


_KEYS = {key.value: key for key in CostKey}


def predicted(key: CostKey) -> CostKey:
    """Return the key of the prediction of a cost. Raises ``KeyError`` if that cost is not predicted."""
    return _KEYS[f"predicted_{key}"]


def phase_s(phase: str) -> str:
    """Return the key of the wall seconds of a phase; all phases and ``overhead_s`` add up to ``elapsed_s``."""
    return f"{phase}_s"


def phase_device_s(phase: str) -> str:
    """Return the key of the device seconds of a phase."""
    return f"{phase}{_DEVICE_S}"


def phases_of(costs: Iterable[str]) -> list[str]:
    """Return the phases whose device seconds are among the keys, in their order."""
    return [k.removesuffix(_DEVICE_S) for k in costs if k.endswith(_DEVICE_S) and k not in _KEYS]


STEP_S, STEP_DEVICE_S = phase_s("step"), phase_device_s("step")
