"""Plug-ins with mistakes that a user may make: named in a suite as ``mistaken:Class``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.classifiers.config import FineTuneConfig

print("the module of a plug-in prints")


@dataclass(frozen=True)
class NoConfig:
    """No setting, also no batch size."""


class NoBatches:
    """A generative method that does not train in batches."""

    kind, version, Config = "generative", 1, NoConfig

    def __init__(self, config: NoConfig) -> None:
        self.config = config
        print("the class of a plug-in prints")

    def check(self, classes: Any) -> None: ...

    def fit(self, data: Any, ctx: Any) -> None: ...

    def synthesize(self, data: Any, counts: Any, fitted: Path, ctx: Any) -> Any:
        return ()


class Bytes:
    """An online method that returns values of 0 to 255."""

    kind, version, Config = "online", 1, NoConfig

    def __init__(self, config: NoConfig) -> None: ...

    def sampling_weights(self, labels: Any) -> None:
        return None

    def transform(self, images: Any, targets: Any, generator: Any) -> Any:
        return images * 255, targets


class Labels(Bytes):
    """An online method that returns labels in place of targets."""

    def transform(self, images: Any, targets: Any, generator: Any) -> Any:
        return images, targets.argmax(1)


class BatchNorm:
    """A classifier whose network cannot be trained on one image at once."""

    version, Config, outputs = 1, FineTuneConfig, 0

    def __init__(self, config: FineTuneConfig) -> None: ...

    def check(self) -> None: ...

    def build(self, num_classes: int, image_size_px: int, weights: Path | None) -> Any:
        from torch import nn

        pixels, classes = 3 * image_size_px**2, self.outputs or num_classes
        return nn.Sequential(nn.Flatten(), nn.Linear(pixels, 4), nn.BatchNorm1d(4), nn.Linear(4, classes))


class SevenOutputs(BatchNorm):
    """A classifier whose network has the wrong number of outputs."""

    outputs = 7
