"""Run mode of the fast step: eager, recorded as CUDA graphs, compiled, or compiled and recorded.

``compile: off`` runs the step eagerly. ``graphs`` records it on CUDA, and runs it eagerly on a CPU. ``on`` compiles it,
and on CUDA also records it. ``auto`` on CUDA chooses the mode with the least total time for the remaining steps,
preparation included. It measures the modes briefly and stores the times in the cache folder, so that the next training
of the same shape on the same host does not measure again.
On a CPU ``auto`` uses a fixed rule: trainings of at least ``LONG_TRAINING`` steps compile the generators, shorter ones
compile nothing. Compiled code rounds differently, so a choice by measured times would change the numbers between runs.

A step that cannot be compiled or recorded (no C++ compiler, an unsupported operator) runs eagerly. The training does
not fail; its facts contain the reason.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import platform
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from bench.types import Size, height_width
from tlsgan.config import CycleGANConfig
from tlsgan.cuda_graphs import RecordedStep, Unchanged
from tlsgan.fast_step import FastStep, Function
from tlsgan.step import ReferenceStep, TrainState, TrainStep

EAGER, GRAPHS, COMPILED, BOTH = "as it is", "CUDA graphs", "compiled", "compiled, CUDA graphs"
BACKEND = "inductor"
EXPECTED_COMPILE_S = 120.0  # for a shape that was not compiled on this host before
EXPECTED_GAIN = 0.5  # largest share of a step's time that compilation can save
LONG_TRAINING = 2_000  # steps; on a CPU compilation of the generators saves time from here on
WARM_UP, TIMED = 3, 10  # steps in a measurement
# Config fields that affect the time of a step and of its preparation. Rates, seeds and lengths do not.
SHAPE = (
    "batch_size", "filters", "blocks", "norm", "discriminator", "disc_filters", "head_width",
    "trained_stages", "head", "class_on_both", "imagenet_normalisation",
    "spectral_norm", "diffaug", "upsample", "residual", "joint_batch_statistics", "amp",
)  # fmt: skip
SWITCHES = ("pool_size", "lambda_identity", "lambda_class")  # for these it only matters whether they are above 0


@dataclass(frozen=True)
class Measured:
    """Seconds to prepare a run mode and to run one step in it; ``error`` is the reason if the mode failed, else ''."""

    prepare_s: float
    step_s: float
    error: str = ""


def make_step(
    train_state: TrainState,
    config: CycleGANConfig,
    device: str,
    image_size_px: Size,
    steps_left: int,
    cache: Path | None,
) -> tuple[TrainStep, dict[str, Any]]:
    """Return the config's step, ready to run, and its facts: step, run mode, and a warning if the mode failed."""
    if config.step == "reference":
        return ReferenceStep(train_state, config), {"training_step": "reference"}
    builder = Builder(train_state, config, device, image_size_px)
    on_cuda = torch.device(device).type == "cuda"
    if on_cuda:  # fixed shapes; ``seed_everything`` chose deterministic algorithms, which are slow
        torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = True, False
    short = not on_cuda and config.steps < LONG_TRAINING  # all steps, so that a resumed training keeps its mode
    if config.compile == "off" or (config.compile == "auto" and short):
        mode, warning = EAGER, ""
    elif config.compile == "graphs":
        mode, warning = (GRAPHS if on_cuda else EAGER), ""
    elif config.compile == "on" or not on_cuda:
        mode, warning = (BOTH if on_cuda else COMPILED), ""
    else:
        mode, warning = choose(builder, steps_left, cache)
    train_step: TrainStep
    try:
        train_step = builder.prepared(mode)
    except Exception as e:  # compilers raise many types; the eager step still works
        mode, warning = EAGER, f"not {mode}: {describe(e)}"
        train_step = builder.prepared(EAGER)
    facts = {"training_step": f"fast, {mode}"}
    return train_step, {**facts, "training_step_warning": warning} if warning else facts


class Builder:
    """Builds the fast step in a given run mode. It does not change networks, moments or random states."""

    def __init__(self, train_state: TrainState, config: CycleGANConfig, device: str, image_size_px: Size):
        self.train_state, self.config, self.device = train_state, config, device
        self.shape = (config.batch_size, config.image_channels, *height_width(image_size_px))

    def prepared(self, mode: str) -> TrainStep:
        """Return the step; unless eager, after one trial run. Raises any error of the compiler or of CUDA."""
        train_step = self._build(mode)
        if mode != EAGER:
            with Unchanged(self.train_state):
                train_step(1, *self._images())
        return train_step

    def measure(self, mode: str) -> Measured:
        """Measure the times of a run mode on random images."""
        start = time.perf_counter()
        try:
            train_step = self.prepared(mode)
            with Unchanged(self.train_state):
                images = self._images()
                seconds = [self._time(train_step, images, n) for n in (WARM_UP, TIMED)]
            return Measured(time.perf_counter() - start - sum(seconds), seconds[-1] / TIMED)
        except Exception as e:  # as in ``make_step``
            return Measured(math.inf, math.inf, describe(e))

    def _time(self, train_step: TrainStep, images: list[torch.Tensor], steps: int) -> float:
        start = time.perf_counter()
        for _ in range(steps):
            train_step(1, *images)
        if torch.device(self.device).type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter() - start

    def _build(self, mode: str) -> TrainStep:
        compile_ = compiler() if mode in (COMPILED, BOTH) else None
        fast = FastStep(self.train_state, self.config, self.device, compile_)
        return RecordedStep(fast) if mode in (GRAPHS, BOTH) else fast

    def _images(self) -> list[torch.Tensor]:
        images = [torch.rand(self.shape, device=self.device) * 2 - 1 for _ in "ab"]
        masks = 2 if self.config.label_fraction < 1 else 0
        return images + masks * [torch.ones(self.shape[0], device=self.device)]


def compiler() -> Callable[[Function], Function]:
    """Return the function that compiles a pass. Shapes are fixed; a step has two: one batch, and two batches joined."""
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # it warns on hosts without CUDA
    torch._dynamo.reset()  # compilations of earlier trainings in this process count towards a limit
    return lambda function: torch.compile(function, backend=BACKEND, dynamic=False)


def describe(e: Exception) -> str:
    """Return the type and the first line of an error, at most 300 characters."""
    return f"{type(e).__name__}: {next(iter(str(e).splitlines()), '')}"[:300]


def choose(builder: Builder, steps_left: int, cache: Path | None) -> tuple[str, str]:
    """Return the run mode with the least time for the remaining steps, and a warning if another mode failed."""
    path = cache / "training_steps" / f"{shape_key(builder)}.json" if cache else None
    measured = read_measurements(path)
    for mode in (EAGER, GRAPHS, BOTH):
        if mode in measured or (mode == BOTH and not worth_compiling(measured.values(), steps_left)):
            continue
        measured[mode] = builder.measure(mode)
        write_measurements(path, measured)
    failed = "; ".join(f"not {mode}: {m.error}" for mode, m in measured.items() if m.error)
    return cheapest(measured, steps_left), failed


def cheapest(measured: Mapping[str, Measured], steps_left: int) -> str:
    """Return the mode with the least preparation + steps · seconds per step; ``EAGER`` if all modes failed."""
    total = {mode: m.prepare_s + steps_left * m.step_s for mode, m in measured.items() if not m.error}
    return min(total, key=lambda mode: total[mode], default=EAGER)


def worth_compiling(measured: Iterable[Measured], steps_left: int) -> bool:
    """Return whether compilation could save more time in the remaining steps than it is expected to take."""
    best = min((m.step_s for m in measured if not m.error), default=0.0)
    return steps_left * best * EXPECTED_GAIN > EXPECTED_COMPILE_S


def shape_key(builder: Builder) -> str:
    """Return the key of a measurement: a hash of device, host, torch version, image shape and config fields."""
    cuda = torch.cuda.get_device_name(builder.device) if torch.device(builder.device).type == "cuda" else ""
    config = asdict(builder.config)
    shape = [config[name] for name in SHAPE] + [config[name] > 0 for name in SWITCHES] + [config["label_fraction"] < 1]
    parts = [cuda, platform.node(), platform.processor(), torch.__version__, builder.shape, shape]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def read_measurements(path: Path | None) -> dict[str, Measured]:
    """Return stored measurements by run mode; empty if the file is missing or cannot be read."""
    try:
        stored = json.loads(path.read_text(encoding="utf-8")) if path else {}
        return {mode: Measured(**m) for mode, m in stored.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def write_measurements(path: Path | None, measured: Mapping[str, Measured]) -> None:
    """Store measurements. An error of the file system is ignored: the training does not need the cache."""
    if path is None:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temp = path.with_suffix(f".{os.getpid()}.tmp")
        temp.write_text(json.dumps({mode: asdict(m) for mode, m in measured.items()}, indent=1), encoding="utf-8")
        os.replace(temp, path)
    except OSError:
        return
