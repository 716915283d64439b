"""Loading of trained networks: safetensors only, no code execution, no downloads.

Networks are built without pretrained weights, because the trained ones replace them; only the cell's files are read.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from bench.errors import BenchError
from bench.metrics.calibration import apply_temperature, expected_calibration_error, fit_temperature
from bench.metrics.predictions import read_predictions
from bench.pages.server import RequestError
from bench.stages.augmentation import augmenter_of, prepared
from bench.stages.classify import WEIGHTS, trained_network
from bench.stages.common import Inputs
from bench.stages.fcn_network import NETWORK
from bench.stages.segmentation import WEIGHTS as NETWORK_WEIGHTS
from bench.types import Uint8Images

if TYPE_CHECKING:
    from torch import nn

V = TypeVar("V")
KEPT = 2  # entries per cache; the least recently used one is removed first


class Shelf(Generic[V]):
    """A cache of the ``KEPT`` most recently used values."""

    def __init__(self) -> None:
        self._values: OrderedDict[str, V] = OrderedDict()

    def get(self, key: str, make: Callable[[], V]) -> V:
        """Return the value of a key; create it with ``make`` if it is not cached."""
        if key not in self._values:
            self._values[key] = make()
        self._values.move_to_end(key)
        while len(self._values) > KEPT:
            self._values.popitem(last=False)
        return self._values[key]


@dataclass(frozen=True)
class Calibration:
    """A temperature fitted on validation images, and the calibration error on test images without and with it.

    The errors are None if the fold has no test images.
    """

    temperature: float
    images: int
    test_ece: tuple[float, float] | None

    @classmethod
    def of(cls, predictions: Path, tested: Sequence[str]) -> Calibration:
        """Fit it on a cell's ``predictions.csv``; ``tested`` are the fold's test images. Raises ``StoreError`` or
        ``DataError``.
        """
        table = read_predictions(predictions).testing(tested)
        validation, test = table.select("validation"), table.select("test")
        temperature = fit_temperature(validation.y_true, validation.y_prob)
        errors = None
        if len(test.y_true):
            scaled = apply_temperature(test.y_prob, temperature)
            before, after = (expected_calibration_error(test.y_true, p) for p in (test.y_prob, scaled))
            errors = (before, after)
        return cls(temperature, len(validation.y_true), errors)


@dataclass(frozen=True)
class Trained:
    """A cell's classifier and its calibration; ``prepare`` changes images as the arm's method does before it."""

    network: nn.Module
    calibration: Calibration
    prepare: Callable[[Uint8Images], Uint8Images]


def load_classifier(inputs: Inputs) -> Trained:
    """Return the trained classifier of a ``classify`` cell. Raises ``RequestError`` if its files are damaged."""
    folder = inputs.artifacts.folder(*inputs.cell.id)
    with load_errors(folder / WEIGHTS):
        network = trained_network(inputs, folder)
    augmenter = augmenter_of(inputs.env.suite.method(str(inputs.cell.method)), inputs.fold(), folder)
    calibration = Calibration.of(folder / "predictions.csv", inputs.split().test)
    return Trained(network, calibration, partial(prepared, augmenter, device=inputs.env.device))


def load_segmentation_network(inputs: Inputs) -> nn.Module:
    """Return a ``segmentation`` or ``fcn_score`` cell's network. Raises ``RequestError`` if its file is damaged."""
    from bench.classifiers.weight_files import load_network
    from bench.segmentation.network import UNet
    from bench.segmentation.smp_unet import build_segmentation_network

    cell, settings = inputs.cell, inputs.settings
    network: nn.Module
    if cell.stage == "segmentation":
        config = replace(settings.segmentation_networks[str(cell.classifier)], encoder_weights="none")
        network, name = build_segmentation_network(config), NETWORK_WEIGHTS
    else:
        network, name = UNet(settings.segmentation.filters), NETWORK
    path = inputs.artifacts.folder(*cell.id) / name
    with load_errors(path):
        load_network(network, path)
    return network


@contextmanager
def load_errors(path: Path) -> Iterator[None]:
    """Raise ``RequestError`` with the cause and the remedy if a file of weights cannot be loaded in the block."""
    try:
        yield
    except BenchError:
        raise
    except Exception as e:  # safetensors' errors, OSError, torch's RuntimeError for other shapes
        first = (str(e).strip() or type(e).__name__).splitlines()[0][:200]
        message = f"{path.name} of cell {path.parent.name} cannot be used ({first}); delete its folder and run again"
        raise RequestError(409, message) from e


class ServeContext:
    """``RunContext`` for generating and translating: no training, no saved files, no pretrained weights."""

    weights: Path | None = None
    cache: Path | None = None

    def __init__(self, folder: Path, device: str, seed: int = 0) -> None:
        self.folder, self.device, self.seed = folder, device, seed

    def log(self, step: int, total: int, metrics: Mapping[str, float]) -> None:
        """Do nothing."""

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Do not measure the time."""
        yield

    def save_checkpoint(self, state: Mapping[str, Any]) -> None:
        """Raise ``BenchError``: a method must not train here."""
        raise BenchError("a method tried to save a checkpoint while images were generated; only fit may do this")

    def load_checkpoint(self) -> dict[str, Any] | None:
        """Return None: there is no checkpoint."""
        return None

    def save_images(self, name: str, step: int, images: Uint8Images) -> None:
        """Do nothing."""

    def fidelity(self, images: Uint8Images, labels: npt.NDArray[np.int64]) -> Mapping[str, float]:
        """Raise ``BenchError``: fidelity is available in training only."""
        raise BenchError("a method called fidelity while images were generated; only fit may do this")
