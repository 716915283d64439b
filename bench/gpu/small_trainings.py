"""Trainings of seconds on images of two colours, with files, checkpoints and losses as in a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench import registry
from bench.forecast.probes import RandomPart
from bench.forecast.random_data import CLASSES, RandomData
from bench.gpu.job import method_of
from bench.seeding import seed_everything
from bench.stages.context import CellContext
from bench.store.history import HISTORY, read_history
from bench.types import Size, Uint8Images, height_width
from bench.weights import read_state_dict

Losses = dict[tuple[int, str], float]  # by step and name
SMALL = {"steps": 6, "batch_size": 2, "filters": 8, "blocks": 1, "disc_filters": 8, "head_width": 8}
SMALL |= {"checkpoint_every": 2, "log_every": 1, "sample_every": 100}
COLOURS = np.array([[200, 120, 160], [120, 60, 150]])


class Interrupted(Exception):
    """Ends a training as if its process had been killed."""


class InterruptedContext(CellContext):
    """The context of a cell whose training is killed when it logs step ``at``."""

    def __init__(self, folder: Path, device: str, at: int) -> None:
        super().__init__(folder, device, 0, None)
        self.at = at

    def log(self, step: int, total: int, metrics: Mapping[str, float]) -> None:
        """Log, or raise ``Interrupted``."""
        if step >= self.at:
            raise Interrupted
        super().log(step, total, metrics)


class Colours(RandomData):
    """``TrainingData`` of two classes that differ in their mean colour."""

    def images(self, size_px: Size | None = None) -> Uint8Images:
        """Return uint8 [N, H, W, 3]."""
        return coloured(self.labels, size_px or self.image_size_px)


def coloured(labels: npt.NDArray[np.int64], size_px: Size) -> Uint8Images:
    """Return noisy images uint8 [N, H, W, 3] in the colours of their labels."""
    noise = np.random.default_rng(0).normal(0, 25, (len(labels), *height_width(size_px), 3))
    return np.clip(COLOURS[labels][:, None, None] + noise, 0, 255).astype(np.uint8)


def fit(name: str, folder: Path, device: str, interrupt_at: int | None = None, **settings: Any) -> Losses:
    """Train a method and return its logged losses; with ``interrupt_at``, killed there and then resumed."""
    method, data = method_of(name, **{**SMALL, **settings}), Colours(64, 16)
    folder.mkdir(parents=True, exist_ok=True)

    def attempt(ctx: CellContext) -> None:
        seed_everything(0)
        method.fit(data, ctx)
        ctx.flush()

    resumed(attempt, folder, device, interrupt_at)
    return losses_in(folder)


def fit_classifier(name: str, folder: Path, device: str, interrupt_at: int | None = None, **settings: Any) -> Any:
    """Train a classifier without augmentation and return the network; with ``interrupt_at`` as in ``fit``."""
    from bench.classifiers.trainer import train_classifier

    cls = registry.load("classifier", name)
    known = {"pretrained": False, **settings}
    config = replace(cls.Config(), **{k: v for k, v in known.items() if k in cls.Config.__dataclass_fields__})
    size_px, online = 32, method_of("none")
    folder.mkdir(parents=True, exist_ok=True)
    learnt, selection = RandomPart(size_px, 32, "train"), RandomPart(size_px, 8, "validation")
    for part in (learnt, selection):
        part.images = coloured(part.labels, size_px)

    def attempt(ctx: CellContext) -> Any:
        seed_everything(0)
        network = cls(config).build(len(CLASSES), size_px, None)
        train_classifier(network, learnt, selection, len(CLASSES), config, online, ctx)
        ctx.flush()
        return network

    return resumed(attempt, folder, device, interrupt_at)


def resumed(attempt: Callable[[CellContext], Any], folder: Path, device: str, interrupt_at: int | None) -> Any:
    """Return what a training returns; with ``interrupt_at``, it is first killed at that step."""
    if interrupt_at is not None:
        try:
            attempt(InterruptedContext(folder, device, interrupt_at))
        except Interrupted:
            pass
        else:
            raise AssertionError(f"the training did not reach step {interrupt_at}")
    return attempt(CellContext(folder, device, 0, None))


def losses_in(folder: Path) -> Losses:
    """Return the losses in the history of a training's folder."""
    return {(step, name): value for step, name, value in read_history(folder / HISTORY)}


def weights_in(folder: Path) -> dict[str, Any]:
    """Return all tensors that a training left, by file and name."""
    files = sorted(folder.glob("*.safetensors"))
    return {f"{path.stem}.{name}": tensor for path in files for name, tensor in read_state_dict(path).items()}


def largest_difference(one: Mapping[Any, Any], other: Mapping[Any, Any]) -> float:
    """Return the largest difference of losses, or of tensors, relative to the largest magnitude of each."""
    assert one.keys() == other.keys(), f"different names or steps: {sorted(map(str, one.keys() ^ other.keys()))[:3]}"
    pairs = ((np.asarray(one[key], dtype=float), np.asarray(other[key], dtype=float)) for key in one)
    return max(float(np.abs(a - b).max() / max(np.abs(a).max(), 1e-12)) for a, b in pairs if a.size)
