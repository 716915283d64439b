"""Results of ``bench profile --suite``, stored in ``<out>/profile/<suite>.json`` for the cost model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench.files import write_atomic
from bench.types import ResultRow

FOLDER = "profile"  # inside the output folder


@dataclass(frozen=True)
class Point:
    """One measured combination. ``what`` is 'training', 'sampling' or 'inference'.

    ``seconds`` is the median of a call on ``images`` images; ``flops`` those of the call, forward and backward;
    ``peak_memory_bytes`` of the whole process (CPU) or allocated (CUDA). None: not measured. ``problem`` says why a
    combination has no numbers: 'does not fit in 16 GB', an error.
    """

    what: str
    name: str
    image_size_px: int
    batch: int
    seconds: float | None = None
    images: int = 0
    calls: int = 0
    flops: int | None = None
    dtype: str = "float32"
    peak_flops_per_s: float | None = None
    peak_memory_bytes: float | None = None
    peak_reserved_bytes: float | None = None
    energy_j: float | None = None  # of a call
    shares: Mapping[str, float] = field(
        default_factory=dict
    )  # of each network that a step updates, as share of its seconds
    problem: str = ""

    @property
    def images_per_s(self) -> float | None:
        """Images per second; for a CycleGAN, pairs per second."""
        return self.images / self.seconds if self.seconds else None

    @property
    def share_of_peak(self) -> float | None:
        """FLOPs per second relative to those of a matrix product."""
        if not self.flops or not self.seconds or not self.peak_flops_per_s:
            return None
        return self.flops / self.seconds / self.peak_flops_per_s

    def plain(self) -> dict[str, Any]:
        """Return all numbers, including derived ones, as JSON and CSV store them."""
        return {**asdict(self), "images_per_s": self.images_per_s, "share_of_peak": self.share_of_peak}


@dataclass(frozen=True)
class Profile:
    """A suite's table of points, and the rehearsal behind its predictions."""

    suite: str
    host: str
    device: str
    threads: int
    made_at: str
    points: tuple[Point, ...] = ()
    rehearsal: tuple[ResultRow, ...] = ()
    startup_s: float = 0.0
    step_s: Mapping[str, float] = field(
        default_factory=dict
    )  # by a cell's shape; see bench.forecast.cost_model.CostModel
    versions: Mapping[str, str] = field(default_factory=dict)

    def save(self, out: Path) -> Path:
        """Write it into the output folder, replacing an earlier one of the suite on that kind of device."""
        folder = out / FOLDER
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.suite}-{self.device.split(':')[0]}.json"
        write_atomic(path, json.dumps({**asdict(self), "points": [p.plain() for p in self.points]}, indent=1))
        return path


def read_profiles(out: Path) -> list[Profile]:
    """Return the profiles of an output folder, oldest first; unreadable files are skipped."""
    found = []
    for path in sorted((out / FOLDER).glob("*.json"), key=lambda p: p.stat().st_mtime):
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            points = tuple(_known(Point, p) for p in data.pop("points"))
            rows = tuple(_known(ResultRow, r) for r in data.pop("rehearsal"))
            found.append(_known(Profile, {**data, "points": points, "rehearsal": rows}))
        except (OSError, ValueError, TypeError, KeyError):
            continue
    return found


def _known(cls: Any, data: Mapping[str, Any]) -> Any:
    return cls(**{k: v for k, v in data.items() if k in cls.__dataclass_fields__})
