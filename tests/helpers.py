"""Stand-ins for the harness: an in-memory RunContext and TrainingData made of arrays."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from bench.leakage import PARTS, FoldParts, PartName, SourceImages
from bench.types import ImageRecord


class Interrupt(Exception):
    """Raised by ``FakeContext`` to play a run that is killed."""


class FakeContext:
    """RunContext that keeps everything in memory; ``interrupt_at`` raises from ``log`` once that step is reached."""

    def __init__(self, folder: Path, seed: int = 0, interrupt_at: int | None = None, weights: Path | None = None):
        self.folder, self.seed, self.device, self.weights = folder, seed, "cpu", weights
        self.cache: Path | None = None
        folder.mkdir(parents=True, exist_ok=True)
        self.interrupt_at = interrupt_at
        self.history: list[tuple[int, dict[str, float]]] = []
        self.phases: list[str] = []
        self.images: list[tuple[str, int, np.ndarray]] = []
        self.scored: list[tuple[np.ndarray, np.ndarray]] = []
        self.checkpoint: dict[str, Any] | None = None

    def log(self, step: int, total: int, metrics: Mapping[str, float]) -> None:
        if self.interrupt_at is not None and step >= self.interrupt_at:
            raise Interrupt(f"interrupted at step {step}")
        self.history.append((step, dict(metrics)))

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        self.phases.append(name)
        yield

    def save_checkpoint(self, state: Mapping[str, Any]) -> None:
        self.checkpoint = copy.deepcopy(dict(state))

    def load_checkpoint(self) -> dict[str, Any] | None:
        return copy.deepcopy(self.checkpoint)

    def save_images(self, name: str, step: int, images: np.ndarray) -> None:
        self.images.append((name, step, images))

    def fidelity(self, images: np.ndarray, labels: np.ndarray) -> Mapping[str, float]:
        self.scored.append((images, labels))
        return {"kid_fake": float(images.mean()), "fid_fake": float(images.std())}


class ArrayData:
    """TrainingData from arrays: images uint8 [N, H, W, 3] and labels [N]; one patient per ``per_group`` images."""

    def __init__(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        classes: tuple[str, ...] = ("benign", "malignant"),
        per_group: int = 4,
    ):
        self._images, self.labels, self.classes = images, np.asarray(labels, dtype=np.int64), classes
        self.records = tuple(
            ImageRecord(f"img_{i:04d}.png", int(y), f"p{y}_{i // per_group}", f"{i:064x}")
            for i, y in enumerate(self.labels)
        )
        self.image_size_px = images.shape[1]
        self.unlabelled = 0  # number of images that are also given without labels
        self.grey = bool(np.ptp(images, axis=3).max(initial=0) == 0)

    def images(self, size_px: int | None = None) -> np.ndarray:
        if size_px in (None, self.image_size_px):
            return self._images
        from PIL import Image

        return np.stack([np.asarray(Image.fromarray(i).resize((size_px, size_px))) for i in self._images])

    def unlabelled_images(self, size_px: int | None = None) -> np.ndarray:
        return self.images(size_px)[: self.unlabelled]


def two_class_data(n: int = 16, size_px: int = 32, seed: int = 0) -> ArrayData:
    """Two classes that differ in mean colour: n images, half of each."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    base = np.where(labels[:, None, None, None] == 0, [200, 120, 160], [120, 60, 150])
    noise = rng.normal(0, 25, (n, size_px, size_px, 3))
    return ArrayData(np.clip(base + noise, 0, 255).astype(np.uint8), labels)


class KnownPart:
    """One part of a made-up fold, as the trainer takes it: images, labels, source images and fold parts."""

    fold_parts = FoldParts("fold 0", {p: SourceImages(groups=frozenset({f"group of {p}"})) for p in PARTS})

    def __init__(self, data: ArrayData, part: PartName, labels: np.ndarray | None = None) -> None:
        self.images, self.labels = data.images(), data.labels if labels is None else labels
        self.source_images = self.fold_parts.parts[part]
