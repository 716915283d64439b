"""A fast suite for harness tests: coloured squares on disk, a generative method without a network."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bench import registry
from bench.errors import ConfigError
from bench.interfaces import RunContext, TrainingData
from bench.seeding import derive_seed
from bench.types import SyntheticImage

PATIENTS, IMAGES = 6, 4
CURVE = {"protocol": "learning_curve", "train_patients": [4, 8], "replicates": 3, "validation_fraction": 0.4}


@dataclass(frozen=True)
class ToyConfig:
    steps: int = 6
    fail_at: int = -1


class Toy:
    """Learns each class's mean image step by step, with checkpoints; makes noisy copies of it."""

    kind = "generative"
    version = 1
    Config = ToyConfig

    def __init__(self, config: ToyConfig) -> None:
        self.config = config

    def check(self, classes: Sequence[str]) -> None:
        if len(classes) != 2:
            raise ConfigError(f"toy: got {len(classes)} classes, expected 2")

    def fit(self, data: TrainingData, ctx: RunContext) -> None:
        state = ctx.load_checkpoint() or {"step": 0, "sums": np.zeros((2, *data.images().shape[1:]))}
        for step in range(state["step"], self.config.steps):
            if step == self.config.fail_at and not (ctx.folder.parent / "mended").exists():
                raise RuntimeError("injected failure")
            with ctx.phase("step"):
                for label in (0, 1):
                    state["sums"][label] += data.images()[data.labels == label].mean(axis=0)
            ctx.log(step + 1, self.config.steps, {"loss": 1.0 / (step + 1)})
            state["step"] = step + 1
            ctx.save_checkpoint(state)
        np.save(ctx.folder / "means.npy", state["sums"] / self.config.steps)
        ctx.save_images("means", self.config.steps, (state["sums"] / self.config.steps).astype(np.uint8))

    def synthesize(
        self, data: TrainingData, counts: Mapping[int, int], fitted: Path, ctx: RunContext
    ) -> Iterator[SyntheticImage]:
        means = np.load(fitted / "means.npy")
        for label, n in counts.items():
            for i in range(n):
                seed = derive_seed("toy", ctx.seed, label, i)
                noise = np.random.default_rng(seed).normal(0, 10, means[label].shape)
                yield SyntheticImage(np.clip(means[label] + noise, 0, 255).astype(np.uint8), label, seed)


def write_squares(root: Path, size_px: int = 16, seed: int = 0, patients: int = 0, images: int = 0) -> Path:
    """Write two class folders of noisy coloured squares; patients are in the names."""
    rng = np.random.default_rng(seed)
    for name, colour in (("benign", (200, 120, 160)), ("malignant", (120, 60, 150))):
        (root / name).mkdir(parents=True)
        for patient in range(patients or PATIENTS):
            shift = rng.normal(0, 15, 3)
            for i in range(images or IMAGES):
                pixels = np.clip(colour + shift + rng.normal(0, 30, (size_px, size_px, 3)), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(root / name / f"{name[0]}{patient}_{i}.png")
    return root


def write_suite(path: Path, **changes: Any) -> Path:
    """Write the toy suite as YAML (JSON is YAML)."""
    suite: dict[str, Any] = {
        "dataset": {"name": "image_folder", "group_regex": r"(?P<group>[bm]\d+)_"},
        "image_size_px": 16,
        "threads": 1,
        "split": {"folds": 2, "validation_fraction": 0.3},
        "ratios": [0.5, 1.0],
        "fidelity": {"input_size_px": 32},
        "methods": {"none": {}, "toy": {}},
        "classifiers": {"small_cnn": {"steps": 4, "evaluate_every": 2, "batch_size": 8, "width": 4}},
    }
    path.write_text(json.dumps({**suite, **changes}), encoding="utf-8")
    return path


def register(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the toy method known under 'toy' for one test."""
    monkeypatch.setitem(registry.REGISTRY["method"], "toy", "toy:Toy")


def leave_out_figures(patch: pytest.MonkeyPatch) -> None:
    """Have reports without charts and pictures, which take longer than the cells of a toy run."""
    patch.setattr("bench.report.build.draw_figures", lambda *_: {})
    patch.setattr("bench.report.build.draw_grids", lambda *_: {})
