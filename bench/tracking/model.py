"""A trained classifier as an MLflow model: its weights as safetensors, its class and config as JSON; no pickle.

``mlflow.pyfunc.load_model`` reads it by ``_load_pyfunc``; this package, and a plug-in's module, must be importable.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from bench.config import build
from bench.types import Uint8Images

if TYPE_CHECKING:
    from torch import nn

DESCRIPTION: Final = "classifier.json"
WEIGHTS: Final = "classifier.safetensors"
EXAMPLE_GREY: Final = 128  # the input example is one grey image: no patient's image leaves the store


@dataclass(frozen=True)
class ClassifierModel:
    """A trained classifier of a run: what it is, the input it takes, and the file of its weights.

    ``target`` is its "module:Class"; ``classes`` are in the order of its outputs; ``resize`` is how images became
    squares of ``image_size_px``; ``key`` identifies its training; ``score`` is what it was chosen by.
    """

    name: str
    key: str
    target: str
    config: Mapping[str, Any]
    classes: tuple[str, ...]
    image_size_px: int
    resize: str
    weights: Path
    score: Mapping[str, float]

    def save(self, folder: Path) -> None:
        """Write the model in MLflow's format into a new folder, with signature and input example."""
        import mlflow.pyfunc
        from mlflow.models import ModelSignature
        from mlflow.types import Schema, TensorSpec

        data, side = folder.with_name(f"{folder.name}-data"), self.image_size_px
        data.mkdir(parents=True)
        shutil.copyfile(self.weights, data / WEIGHTS)
        names = ("target", "config", "classes", "image_size_px", "resize")
        described = {name: getattr(self, name) for name in names}
        (data / DESCRIPTION).write_text(json.dumps(described, indent=1), encoding="utf-8")
        images = TensorSpec(np.dtype(np.uint8), (-1, side, side, 3))
        probabilities = TensorSpec(np.dtype(np.float64), (-1, len(self.classes)))
        mlflow.pyfunc.save_model(
            folder,
            loader_module=__name__,
            data_path=data,
            signature=ModelSignature(Schema([images]), Schema([probabilities])),
            input_example=np.full((1, side, side, 3), EXAMPLE_GREY, np.uint8),
            pip_requirements=[f"augbench=={version('augbench')}"],
        )


class LoadedClassifier:
    """The classifier as MLflow uses it."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network

    def predict(self, images: Uint8Images, params: Any = None) -> npt.NDArray[np.float64]:
        """Return class probabilities float64 [N, C] of images uint8 [N, S, S, 3], on the CPU; rows sum to 1."""
        from bench.classifiers.trainer import predict

        return predict(self.network, images, "cpu")


def _load_pyfunc(path: str) -> LoadedClassifier:
    """Return the classifier of a saved model. ``path`` is its data folder; MLflow calls this."""
    from bench.classifiers.weight_files import load_network

    described = json.loads((Path(path) / DESCRIPTION).read_text(encoding="utf-8"))
    module, _, name = described["target"].partition(":")
    cls = getattr(import_module(module), name)
    config = build(cls.Config, described["config"], described["target"])
    network = cls(config).build(len(described["classes"]), described["image_size_px"], None)
    load_network(network, Path(path) / WEIGHTS)
    return LoadedClassifier(network)
