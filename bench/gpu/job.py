"""What a part gets and returns, and the record of a part in ``<out>/<part>.json``."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench import registry
from bench.config import build, strict_json
from bench.files import write_atomic

DONE, FAILED, TIMED_OUT, RUNNING = "done", "failed", "timed out", "running"
NO_TIME, NO_PYTEST = "not enough time", "pytest is not installed"


@dataclass(frozen=True)
class Result:
    """The result of a part in a few words; ``met``: whether it is as expected, None if that was not decided."""

    words: str
    figures: Mapping[str, Any] = field(default_factory=dict)
    met: bool | None = None
    status: str = DONE


@dataclass(frozen=True)
class Record:
    """A part's file. ``code``, ``device`` and ``data`` (name of the folder of images, '' for none) are what it was made
    with; ``seconds`` is wall time. ``error`` is a message; the traceback is in ``log/``.
    """

    part: str
    title: str
    expected: str
    code: str
    device: str
    data: str
    status: str = RUNNING
    seconds: float = 0.0
    result: str = ""
    met: bool | None = None
    figures: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""

    def save(self, out: Path) -> None:
        """Write it atomically."""
        write_atomic(out / f"{self.part}.json", json.dumps(strict_json(asdict(self)), indent=1) + "\n")

    def is_same_run(self, other: Record) -> bool:
        """Whether both were made with the same code, device and data."""
        return (self.code, self.device, self.data) == (other.code, other.device, other.data)


def read_record(out: Path, part: str) -> Record | None:
    """Return the record of a part; None if it is missing or unreadable."""
    try:
        return Record(**json.loads((out / f"{part}.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


@dataclass(frozen=True)
class Job:
    """What a part gets. ``dry``: tiny sizes, so that the part runs in seconds on a CPU; its figures mean nothing."""

    out: Path
    device: str
    dry: bool
    record: Record
    deadline: float  # by ``time.monotonic``, which all processes of a machine share
    earlier: Mapping[str, Any] = field(default_factory=dict)  # figures of an unfinished call with the same code
    data: Path | None = None  # folder of real images

    @property
    def left_s(self) -> float:
        """Seconds until the part is stopped."""
        return self.deadline - time.monotonic()

    @property
    def on_cuda(self) -> bool:
        """Whether the device is a GPU."""
        return self.device.startswith("cuda")

    def keep(self, figures: Mapping[str, Any]) -> None:
        """Store figures so far; they remain if the part fails or is stopped."""
        Record(**{**asdict(self.record), "figures": figures}).save(self.out)

    def decided(self, met: bool) -> bool | None:
        """Return whether an expectation of speed or memory is met; None where the figures mean nothing."""
        return None if self.dry or not self.on_cuda else met


def method_of(name: str, **settings: Any) -> Any:
    """Build a method; settings that its config does not have are left out."""
    cls = registry.load("method", name)
    known = {k: v for k, v in settings.items() if k in cls.Config.__dataclass_fields__}
    return cls(build(cls.Config, known, f"method {name}"))
