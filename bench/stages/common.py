"""Common code of the stages: the run's environment, a cell's inputs, its output, and cached features."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bench.data.cache import ImageCache
from bench.data.loaders import FoldData
from bench.data.positive import with_positive
from bench.data.records import fingerprint
from bench.data.sets.detect import read_index
from bench.data.splits import load_split
from bench.errors import DataError, LeakageError
from bench.plan.plan import Cell
from bench.store.cell_folders import Artifacts
from bench.suite.suite import Suite
from bench.types import DatasetIndex, Resize, Split, Uint8Images

if TYPE_CHECKING:
    from bench.metrics.features import Embedding

OF_A_GENERATOR = (  # stages
    *("fit", "synthesize", "select", "fidelity", "memorised", "translate", "discriminator_classifier"),
)


@dataclass(frozen=True)
class RunEnv:
    """Settings shared by all cells of a run; small, because they are sent to the worker processes."""

    out: Path
    suite: Suite
    fingerprint: str
    data: Path | None = None
    device: str = "cpu"
    weights: Path | None = None
    trace: bool = False  # store a torch.profiler trace of a few training steps in each cell that trains

    def of_fold(self, fold: int, repeat: int) -> RunEnv:
        """Return the environment with the tuned settings of a fold."""
        own = self.suite.of_fold(fold, repeat)
        return self if own is self.suite else replace(self, suite=own)

    @property
    def weights_folder(self) -> Path | None:
        """The folder of pretrained weights, None if ``weights`` is a single file, which belongs to one backbone."""
        return self.weights if self.weights and self.weights.is_dir() else None


@dataclass
class Output:
    """Results of a stage, in addition to the files it wrote."""

    metrics: dict[str, float] = field(default_factory=dict)
    costs: dict[str, float] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)


# By fingerprint, data set and folders: a worker process reads the index once, not once per cell.
_INDEXES: dict[tuple[str, str, Path | None, Path], DatasetIndex] = {}


def load_index(suite: Suite, data: Path | None, cache: Path) -> DatasetIndex:
    """List the suite's images. Raises ``DataError`` when they are missing."""
    return read_index(suite.dataset.create(), suite.dataset.name, data, cache)


class Inputs:
    """The inputs of a cell: the index, its split, the images of its parts, and its upstream folders."""

    def __init__(self, cell: Cell, env: RunEnv) -> None:
        env = env.of_fold(cell.fold, cell.repeat)
        self.cell, self.env, self.settings = cell, env, env.suite.settings
        self.artifacts = Artifacts(env.out)
        known = (env.fingerprint, env.suite.dataset.target, env.data, env.out)  # generated images are below ``out``
        if known not in _INDEXES:
            index = load_index(env.suite, env.data, env.out / "cache")
            if fingerprint(index) != env.fingerprint:
                raise DataError("the images changed during the run; start `bench run` again to make a new plan")
            _INDEXES[known] = index
        self.index = with_positive(_INDEXES[known], env.suite.positive)

    def upstream(self, stage: str) -> Path:
        """Return the folder of the upstream cell of a stage."""
        key = next(key for s, key in self.cell.upstream if s == stage)
        return self.artifacts.folder(stage, key)

    def fold(self) -> FoldData:
        """Return the images of the fold; its split is checked here."""
        cache = ImageCache(self.env.out / "cache")
        return FoldData(self.index, self.split(), cache, self.settings.image_size_px, self.resize)

    def split(self) -> Split:
        """Return the saved split of the fold, which must have the suite's protocol."""
        path = self.upstream("split") / "split.json"
        split = load_split(path)
        if split.protocol != self.settings.split.protocol:
            raise LeakageError(
                f"{path} was drawn by the protocol {split.protocol}, this suite's is {self.settings.split.protocol}: "
                "its parts may not be disjoint; delete its folder and run again"
            )
        return split

    @property
    def resize(self) -> Resize:
        """How images are resized: as the suite says, but in a generator's stages as its method says, if it does."""
        own = None
        if self.cell.stage in OF_A_GENERATOR:
            own = getattr(self.env.suite.method(str(self.cell.method)).create(), "resize", None)
        return own or self.settings.resize


class Features:
    """The suite's feature extractor with a cache of its results: uint8 [N, H, W, 3] -> float32 [N, D]."""

    def __init__(self, env: RunEnv) -> None:
        from bench.metrics.features import FeatureExtractor

        self._config, self._env = env.suite.settings.fidelity, env
        self._extractor = FeatureExtractor(self._config.extractor, env.weights_folder, self._config.input_size_px)
        self.tag = self._extractor.tag

    def __call__(self, images: Uint8Images) -> npt.NDArray[np.float32]:
        """Return the features of the images, in order."""
        from bench.metrics.features import cached_features

        cache = self._env.out / "cache" / "features"
        return cached_features(self._extractor, images, cache, self._env.device, self._config.batch_size)

    def extract(self, images: Uint8Images) -> npt.NDArray[np.float32]:
        """Return the features of images that are not needed again: they are not cached."""
        return self._extractor.extract(images, self._env.device, self._config.batch_size)

    def embed(self, images: Uint8Images, labels: npt.NDArray[np.int64]) -> Embedding:
        """Return features, logits and the diversity of each label, for images in order."""
        from bench.metrics.features import cached_embedding

        cache = self._env.out / "cache" / "features"
        return cached_embedding(self._extractor, images, labels, cache, self._env.device, self._config.batch_size)
