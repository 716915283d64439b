"""What the jobs of a cluster get, by stage: ``resources`` of a suite. It changes no result and no key of a cell.

resources:
  default: {minutes: 120, cpus: 4, slurm: {account: pathology}}
  fit: {minutes: 600, gpus: 1, slurm: {partition: gpu}}
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from bench.errors import ConfigError

DEFAULT = "default"
OPTIONS_OF_BENCH = ("array", "job-name", "output", "error", "time", "cpus-per-task", "mem", "gpus", "requeue", "wrap")


@dataclass(frozen=True)
class Resources:
    """Resources of a job that runs one cell after another; None: those of ``default``, or what the cells need.

    ``slurm`` are further options of ``sbatch`` without their dashes; the value true stands for an option without one.
    """

    minutes: int | None = None  # time limit
    cpus: int | None = None
    memory_gb: float | None = None
    gpus: float | None = None
    slurm: Mapping[str, str | int | bool] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raise ``ConfigError`` for a number that is not positive, and for an option that has a key of its own."""
        for name in ("minutes", "cpus", "memory_gb"):
            if (value := getattr(self, name)) is not None and not value > 0:
                raise ConfigError(f"resources: {name}: got {value}, expected a number above 0")
        if self.gpus is not None and self.gpus < 0:
            raise ConfigError(f"resources: gpus: got {self.gpus}, expected 0 or more")
        for option in self.slurm:
            if option in OPTIONS_OF_BENCH or option.startswith("-"):
                raise ConfigError(
                    f"resources: slurm.{option}: expected an option of sbatch without dashes that is not one of: "
                    f"{', '.join(OPTIONS_OF_BENCH)}; time, CPUs, memory and GPUs have keys of their own"
                )

    def over(self, other: Resources) -> Resources:
        """Return ``other`` with the values that are given here."""
        given = {n: v for n in ("minutes", "cpus", "memory_gb", "gpus") if (v := getattr(self, n)) is not None}
        return replace(other, **given, slurm={**other.slurm, **self.slurm})
