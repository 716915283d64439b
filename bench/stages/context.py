"""The harness's implementation of ``bench.interfaces.RunContext``: history, checkpoints, samples, costs of a cell."""

from __future__ import annotations

import json
import math
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.cost.sandbox import is_out_of_memory
from bench.cost.timers import PhaseTimer
from bench.cost.trace import TRACE, StepTrace
from bench.cost.updates import UpdateClock
from bench.cost.usage import peak_bytes
from bench.errors import BenchError, ConfigError
from bench.names import check_measure, check_name, check_series
from bench.store.clock import Stamp
from bench.store.csv_cells import Writer
from bench.types import Uint8Images

PROGRESS_EVERY_S = 0.5
FidelityFunction = Callable[[Uint8Images, npt.NDArray[np.int64]], Mapping[str, float]]


class CellContext:
    """Writes ``history.csv`` (step, name, value), ``checkpoint.pt``, ``progress.json`` and ``samples/``.

    ``updates`` names what a training step updates, in order, to divide the seconds of steps among them (on a CPU);
    ``trace`` records a few steps for torch's profiler.
    """

    def __init__(
        self, folder: Path, device: str, seed: int, weights: Path | None, cache: Path | None = None, *,
        updates: Sequence[str] = (), trace: bool = False,
    ) -> None:  # fmt: skip
        self.folder, self.device, self.seed, self.weights, self.cache = folder, device, seed, weights, cache
        self.timer = PhaseTimer(device)
        self.updates = UpdateClock(updates, device) if updates and not device.startswith("cuda") else None
        self._trace = StepTrace(folder / TRACE, device) if trace else None
        self.score_images: FidelityFunction | None = None  # set by the stage: scores a generator's images in training
        self._history = folder / "history.csv"
        self._checkpoint = folder / "checkpoint.pt"
        self.restoring = (
            False  # from loading a checkpoint until training continues: a failure is then due to the checkpoint
        )
        self._rows: list[tuple[int, str, float]] = []
        self._series: set[str] = set()  # names that were logged
        self._last_progress = -math.inf
        self._step: dict[str, Any] = {}  # step, total and metrics, as last logged
        self._progress_lock = threading.Lock()
        self._started = time.monotonic()
        self._device_started = self.timer.device_clock()
        # From interrupted runs that this one continues, up to their last checkpoint:
        self._spent_before_s = self._device_spent_before_s = 0.0
        if not self._checkpoint.exists():
            self._history.unlink(
                missing_ok=True
            )  # without checkpoint: entries of an interrupted run will be logged again

    def log(self, step: int, total: int, metrics: Mapping[str, float]) -> None:
        """Log losses by name at a step, and show progress (``step`` of ``total``)."""
        self.restoring = False
        for name in metrics.keys() - self._series:
            self._series.add(check_series("ctx.log", name))
        self._rows += [(step, name, float(value)) for name, value in metrics.items()]
        now = time.monotonic()
        if now - self._last_progress >= PROGRESS_EVERY_S:
            self._last_progress = now
            finite = {k: float(v) for k, v in metrics.items() if np.isfinite(v)}
            self._step = {"step": step, "total": total, "metrics": finite}
            self.show_progress()
            self.flush()

    def show_progress(self) -> None:
        """Write ``progress.json``: process, elapsed time, progress and memory. Any thread may call it.

        ``elapsed_s`` refers to the time ``updated``, a ``Stamp``, as does the step.
        """
        state = {
            "pid": os.getpid(),
            "device": self.device,
            "elapsed_s": self.elapsed_s,
            "updated": asdict(Stamp.now()),
            "peak_memory_bytes": peak_bytes(self.device),
            **self._step,
        }
        with self._progress_lock:
            temp = self.folder / ".progress.tmp"
            temp.write_text(json.dumps(state), encoding="utf-8")
            os.replace(temp, self.folder / "progress.json")

    def flush(self) -> None:
        """Append what was logged to ``history.csv``."""
        if not self._rows:
            return
        new = not self._history.exists()
        with self._history.open("a", newline="", encoding="utf-8") as f:
            writer = Writer(f)
            if new:
                writer.writerow(("step", "name", "value"))
            writer.writerows((s, n, repr(v)) for s, n, v in self._rows)
        self._rows.clear()

    @property
    def elapsed_s(self) -> float:
        """Wall seconds that led to the current state, including interrupted runs."""
        return self._spent_before_s + time.monotonic() - self._started

    def count(self, costs: Mapping[str, float]) -> None:
        """Add the seconds of another cell, in total and by phase, because this cell reuses its result."""
        self._spent_before_s += costs["elapsed_s"]
        self._device_spent_before_s += costs.get("device_s", 0.0)
        for key in costs:
            if key.endswith("_device_s"):
                phase = key.removesuffix("_device_s")
                for mine, found in ((self.timer.seconds, f"{phase}_s"), (self.timer.device_seconds, key)):
                    mine[phase] = mine.get(phase, 0.0) + costs[found]

    @property
    def device_s(self) -> float:
        """Device seconds that led to the current state: of the processor, or the time that a GPU was occupied."""
        return self._device_spent_before_s + self.timer.device_clock() - self._device_started

    def costs(self) -> dict[str, float]:
        """Return all seconds so far: in total, by phase, and ``overhead_s``, which belongs to no phase."""
        elapsed_s, device_s = self.elapsed_s, self.device_s
        phases = self.timer.costs()
        phases["overhead_s"] = elapsed_s - sum(self.timer.seconds.values())
        return {"elapsed_s": elapsed_s, "device_s": device_s, **phases}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time a block under a cost phase."""
        check_measure("ctx.phase", name)
        self.restoring = False
        with ExitStack() as within:
            if name == "step" and self._trace:
                within.enter_context(self._trace.block())
            within.enter_context(self.timer.phase(name))
            if name == "step" and self.updates:
                within.enter_context(self.updates.running())
            yield

    def save_checkpoint(self, state: Mapping[str, Any]) -> None:
        """Store a resumable state atomically, with the length of the history and the costs so far."""
        import torch

        self.flush()
        size = self._history.stat().st_size if self._history.exists() else 0
        temp = self.folder / ".checkpoint.tmp"
        spent = {"seconds": dict(self.timer.seconds), "elapsed_s": self.elapsed_s}
        spent |= {"device_seconds": dict(self.timer.device_seconds), "device_s": self.device_s}
        if self.updates:
            spent |= {"updates": self.updates.updates, "update_seconds": dict(self.updates.seconds)}
        torch.save({"state": dict(state), "history_bytes": size, **spent}, temp)
        with temp.open("rb+") as f:
            os.fsync(f.fileno())
        os.replace(temp, self._checkpoint)

    def load_checkpoint(self) -> dict[str, Any] | None:
        """Return the last checkpoint of this cell, or None; later history is removed, as it will be logged again."""
        if not self._checkpoint.exists():
            return None
        try:
            saved = self._read_checkpoint()
        except Exception as e:  # torch raises OSError, RuntimeError, EOFError, UnpicklingError, … for a damaged file
            if is_out_of_memory(e):
                raise
            print(
                f"{self._checkpoint} cannot be used ({type(e).__name__}: {e}); the cell starts anew",
                file=sys.stderr,
            )
            self.drop_checkpoint()
            self._history.unlink(missing_ok=True)
            return None
        self.restoring = True
        self._spent_before_s = saved["elapsed_s"]
        self._device_spent_before_s = saved.get("device_s", 0.0)
        for mine, before in (
            (self.timer.seconds, saved["seconds"]),
            (self.timer.device_seconds, saved.get("device_seconds", {})),
        ):
            for name, seconds in before.items():
                mine[name] = mine.get(name, 0.0) + seconds
        if self.updates and "updates" in saved:
            self.updates.updates, self.updates.seconds = saved["updates"], dict(saved["update_seconds"])
        return dict(saved["state"])

    def _read_checkpoint(self) -> dict[str, Any]:
        """Return what ``save_checkpoint`` stored, and truncate the history to that length. Raises torch's errors."""
        import torch

        with torch.serialization.safe_globals(_numpy_globals()):
            saved: dict[str, Any] = torch.load(self._checkpoint, map_location="cpu", weights_only=True)
        dict(saved["state"]), float(saved["elapsed_s"]), dict(saved["seconds"])
        logged = self._history.stat().st_size if self._history.exists() else 0
        if logged < saved["history_bytes"]:
            raise ValueError(f"{self._history.name} has {logged} bytes, expected at least {saved['history_bytes']}")
        if self._history.exists():
            os.truncate(self._history, saved["history_bytes"])
        return saved

    def drop_checkpoint(self) -> None:
        """Delete the checkpoint: a diverged training must not continue from it."""
        self._checkpoint.unlink(missing_ok=True)

    def save_images(self, name: str, step: int, images: Uint8Images) -> None:
        """Tile uint8 [N, H, W, 3] into ``samples/<name>_<step>.png``, as nearly square as possible.

        Raises ``ConfigError`` for an invalid name, ``BenchError`` for images of another shape or type.
        """
        from PIL import Image

        check_name("ctx.save_images", name)
        _require_images("ctx.save_images", images)
        folder = self.folder / "samples"
        folder.mkdir(exist_ok=True)
        Image.fromarray(tile(images)).save(folder / f"{name}_{step:06d}.png")

    def fidelity(self, images: Uint8Images, labels: npt.NDArray[np.int64]) -> Mapping[str, float]:
        """Return KID and FID against the fold's training images. Raises ``ConfigError`` outside ``fit``."""
        if self.score_images is None:
            raise ConfigError(
                "ctx.fidelity: training images to compare with are only available in `fit`; call it there"
            )
        _require_images("ctx.fidelity", images)
        with self.phase("evaluate"):
            return self.score_images(images, labels)


def _require_images(what: str, images: object) -> None:
    """Raise ``BenchError`` unless images are an array uint8 [N, H, W, 3]; floats in [0, 1] would be cast to black."""
    if not isinstance(images, np.ndarray):
        got = type(images).__name__
    elif images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3:
        got = f"{images.dtype} {list(images.shape)}"
    else:
        return
    raise BenchError(f"{what}: got images {got}, expected an array uint8 [N, H, W, 3], values 0 to 255")


def tile(images: Uint8Images, columns: int | None = None, gap_px: int = 2) -> np.ndarray:
    """Return one uint8 [H', W', 3] picture of uint8 [N, H, W, 3] images in rows, on white."""
    n, h, w, _ = images.shape
    columns = columns or int(np.ceil(np.sqrt(n)))
    rows = -(-n // columns)
    sheet = np.full((rows * (h + gap_px) - gap_px, columns * (w + gap_px) - gap_px, 3), 255, np.uint8)
    for i, image in enumerate(images):
        y, x = (i // columns) * (h + gap_px), (i % columns) * (w + gap_px)
        sheet[y : y + h, x : x + w] = image
    return sheet


def _numpy_globals() -> list[Any]:
    """The globals that ``weights_only`` loading must allow for NumPy arrays and scalars."""
    kinds = ("float64", "float32", "int64", "int32", "uint64", "uint32", "uint8", "bool")
    reconstruct = np.zeros(1).__reduce__()[0]
    scalar = np.float64(0).__reduce__()[0]
    return [np.ndarray, np.dtype, reconstruct, scalar, *(type(np.dtype(k)) for k in kinds)]
