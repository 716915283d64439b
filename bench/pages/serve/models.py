"""Trained networks back from disk: safetensors only, nothing that could run code, nothing downloaded.

Networks are built without pretrained weights, which the trained ones replace anyway: so no file but the cell's own is
read.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from bench.errors import BenchError
from bench.metrics.calibration import apply_temperature, expected_calibration_error, fit_temperature
from bench.metrics.predictions import read_predictions
from bench.pages.server import RequestError
from bench.plan.plan import classifier_of
from bench.stages.classify import WEIGHTS
from bench.stages.common import Inputs
from bench.stages.fcn_network import NETWORK
from bench.stages.segmentation import WEIGHTS as SEGMENTER
from bench.types import Uint8Images

if TYPE_CHECKING:
    from torch import nn

V = TypeVar("V")
KEPT = 2  # of each kind of thing; the one not used for longest goes first


class Shelf(Generic[V]):
    """The last ``KEPT`` things that were used, by key."""

    def __init__(self) -> None:
        self._things: OrderedDict[str, V] = OrderedDict()

    def get(self, key: str, make: Callable[[], V]) -> V:
        """Return the thing of that key, made if need be."""
        if key not in self._things:
            self._things[key] = make()
        self._things.move_to_end(key)
        while len(self._things) > KEPT:
            self._things.popitem(last=False)
        return self._things[key]


@dataclass(frozen=True)
class Calibration:
    """A temperature fitted on validation images, and the calibration error on test images without and with it.

    The errors are None where the fold has no test images.
    """

    temperature: float
    images: int
    test_ece: tuple[float, float] | None

    @classmethod
    def of(cls, predictions: Path) -> Calibration:
        """Fit it on a cell's ``predictions.csv``. Raises ``StoreError`` or ``DataError``."""
        validation, test = (read_predictions(predictions, part) for part in ("validation", "test"))
        temperature = fit_temperature(validation.y_true, validation.y_prob)
        errors = None
        if len(test.y_true):
            scaled = apply_temperature(test.y_prob, temperature)
            before, after = (expected_calibration_error(test.y_true, p) for p in (test.y_prob, scaled))
            errors = (before, after)
        return cls(temperature, len(validation.y_true), errors)


@dataclass(frozen=True)
class Trained:
    """A cell's classifier and its calibration."""

    network: nn.Module
    calibration: Calibration


def load_classifier(inputs: Inputs) -> Trained:
    """Return the trained classifier of a ``classify`` cell. Raises ``RequestError`` when its files are damaged."""
    from bench.classifiers.trainer import load_network

    cell, suite = inputs.cell, inputs.env.suite
    spec = classifier_of(suite, str(cell.classifier), cell.method, cell.ratio)
    spec = replace(spec, config=replace(spec.config, pretrained=False))
    network: nn.Module = spec.create().build(len(inputs.index.classes), suite.settings.image_size_px, None)
    folder = inputs.artifacts.folder(*cell.id)
    with said(folder / WEIGHTS):
        load_network(network, folder / WEIGHTS)
    return Trained(network, Calibration.of(folder / "predictions.csv"))


def load_segmentation_network(inputs: Inputs) -> nn.Module:
    """Return the network of a ``segmenter`` or ``segment`` cell. Raises ``RequestError`` when its file is damaged."""
    from bench.classifiers.trainer import load_network
    from bench.segmentation.network import UNet
    from bench.segmentation.segmenter_network import build_segmentation_network

    cell, settings = inputs.cell, inputs.settings
    network: nn.Module
    if cell.stage == "segmenter":
        config = replace(settings.segmentation_networks[str(cell.classifier)], encoder_weights="none")
        network, name = build_segmentation_network(config), SEGMENTER
    else:
        network, name = UNet(settings.segmentation.filters), NETWORK
    path = inputs.artifacts.folder(*cell.id) / name
    with said(path):
        load_network(network, path)
    return network


@contextmanager
def said(path: Path) -> Iterator[None]:
    """Say of a file of weights that cannot be read in one sentence what is wrong, and what to do."""
    try:
        yield
    except BenchError:
        raise
    except Exception as e:  # safetensors' own, OSError, torch's RuntimeError for other shapes
        first = (str(e).strip() or type(e).__name__).splitlines()[0][:200]
        message = f"{path.name} of cell {path.parent.name} cannot be used ({first}); delete its folder and run again"
        raise RequestError(409, message) from e


class ServeContext:
    """``RunContext`` for drawing and translating: it trains nothing, keeps nothing, and knows no pretrained weights."""

    weights: Path | None = None
    cache: Path | None = None

    def __init__(self, folder: Path, device: str, seed: int = 0) -> None:
        self.folder, self.device, self.seed = folder, device, seed

    def log(self, step: int, total: int, metrics: Mapping[str, float]) -> None:
        """Nobody asks."""

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Nothing is timed."""
        yield

    def save_checkpoint(self, state: Mapping[str, Any]) -> None:
        """Raise ``BenchError``: a method that trains here is at fault."""
        raise BenchError("a method wanted to save a checkpoint while images were drawn; nothing is trained here")

    def load_checkpoint(self) -> dict[str, Any] | None:
        """There is none."""
        return None

    def save_images(self, name: str, step: int, images: Uint8Images) -> None:
        """Nothing is kept."""

    def fidelity(self, images: Uint8Images, labels: npt.NDArray[np.int64]) -> Mapping[str, float]:
        """Raise ``BenchError``: only training is judged."""
        raise BenchError("a method wanted its images judged while they were drawn; that is for training only")
