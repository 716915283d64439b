"""Interfaces of plug-ins: datasets, augmentation methods, classifiers and metrics, and the context they receive.

A plug-in is a class with a ``Config`` (a frozen dataclass with a default for every field, units in the names), built as
``cls(config)``. It is registered by one line in ``bench/registry.py`` or by an entry point of another package.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from bench.types import (
    DatasetIndex,
    ImageRecord,
    Measure,
    Size,
    SyntheticImage,
    Uint8Images,
)

if TYPE_CHECKING:
    import torch


@runtime_checkable
class Dataset(Protocol):
    """A labelled, grouped set of images on disk.

    Optional class attributes: ``haematoxylin = True`` if the images are stained with haematoxylin, so that translations
    can be evaluated by their nuclei if there are no masks (``dab = True``: nuclei may be brown with DAB instead);
    ``modality``, such as 'ultrasound'; ``licence`` of the images, such as 'CC BY 4.0'. If the class names do not imply
    which of two classes is positive, the dataset sets ``DatasetIndex.positive`` (``bench.data.positive``).
    """

    Config: ClassVar[type]

    def __init__(self, config: Any) -> None: ...

    def index(self, root: Path | None, cache: Path) -> DatasetIndex:
        """List the images under ``root`` (None: the user gave no folder).

        ``cache`` is a folder for results that are expensive to recompute. Raises ``DataError`` with the path and the
        expected layout if images are missing or the layout is another one.
        """
        ...


class TrainingData(Protocol):
    """The training part of one fold: the only images that a method can access."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of their labels."""
        ...

    @property
    def records(self) -> Sequence[ImageRecord]:
        """The training images: path, label, group."""
        ...

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """Class indices, int64 [N], in the order of ``records``."""
        ...

    @property
    def image_size_px(self) -> int:
        """The suite's image side in pixels (images are square)."""
        ...

    @property
    def grey(self) -> bool:
        """Whether no image of the data set has colour: the three channels of ``images`` are equal."""
        ...

    def images(self, size_px: Size | None = None) -> Uint8Images:
        """Return uint8 [N, H, W, 3] in the order of ``records``; ``None`` means the suite's size.

        A tuple is (height, width), for a method whose images are not square.
        """
        ...

    def unlabelled_images(self, size_px: Size | None = None) -> Uint8Images:
        """Return images of further patients without labels, uint8 [M, H, W, 3]; M is 0 unless the suite has some.

        For generative methods whose ``uses_unlabelled`` is true (``split.unlabelled_patients``).
        """
        ...


class RunContext(Protocol):
    """The context that the harness gives a stage. Files are written to ``folder``, which survives an interruption."""

    folder: Path
    device: str
    seed: int
    weights: Path | None  # a local file or folder of pretrained weights, from `weights:` or BENCH_WEIGHTS
    cache: Path | None  # folder for results that are expensive to recompute, shared by all cells; None: no cache

    def log(self, step: int, total: int, metrics: Mapping[str, float]) -> None:
        """Log losses by name at a step and report progress (``step`` of ``total``). Fast; call it every N steps."""
        ...

    def phase(self, name: str) -> AbstractContextManager[None]:
        """Measure the time of a block as a cost phase: 'data', 'step', 'sample', 'evaluate', 'checkpoint'."""
        ...

    def save_checkpoint(self, state: Mapping[str, Any]) -> None:
        """Save a resumable state (tensors, numbers, strings, lists, dicts) atomically, replacing the last one."""
        ...

    def load_checkpoint(self) -> dict[str, Any] | None:
        """Return the last checkpoint of this cell, or None if training starts from the beginning."""
        ...

    def save_images(self, name: str, step: int, images: Uint8Images) -> None:
        """Save a sample grid: uint8 [N, H, W, 3] tiled into one PNG, shown by step in MLflow and in the report."""
        ...

    def fidelity(self, images: Uint8Images, labels: npt.NDArray[np.int64]) -> Mapping[str, float]:
        """Return KID and FID of synthetic images uint8 [N, H, W, 3] of ``labels`` [N]; allowed during ``fit`` only.

        The reference is the fold's real *training* images of these classes. Names end in the tag of the suite's
        extractor: 'kid_<tag>', 'fid_<tag>'. Deterministic; no global random state is changed. Slow. Log the values as
        'fidelity/…'. Raises ``ConfigError`` in other stages.
        """
        ...


class OnlineAugmenter(Protocol):
    """A method that changes how real images are fed to the classifier and generates no images.

    Optional class attribute of every method: ``by_modality``, a mapping from a data set's ``modality`` to config values
    that replace the defaults for it; a suite's own values have priority.
    """

    kind: ClassVar[Literal["online"]]
    version: ClassVar[int]
    Config: ClassVar[type]

    def __init__(self, config: Any) -> None: ...

    def sampling_weights(self, labels: npt.NDArray[np.int64]) -> npt.NDArray[np.float64] | None:
        """Return sampling weights [N] of the training images, or None for plain shuffling."""
        ...

    def transform(
        self, images: torch.Tensor, targets: torch.Tensor, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Augment one training batch: images float [B, 3, H, W] in [0, 1]; targets float [B, C], rows sum to 1.

        All randomness comes from ``generator`` (on the CPU).
        """
        ...


class GenerativeAugmenter(Protocol):
    """A method that learns from training images and then generates synthetic ones.

    An attribute ``resize``, 'squash' or 'crop' (None: as in the suite), sets how images are resized for this method:
    both its training images and the images that its results are compared with.
    """

    kind: ClassVar[Literal["generative"]]
    version: ClassVar[int]  # increase it when the same config gives other images: old cells are then not reused
    Config: ClassVar[type]

    def __init__(self, config: Any) -> None: ...

    def check(self, classes: Sequence[str]) -> None:
        """Raise ``ConfigError`` if the method does not support these classes. Called before training starts."""
        ...

    def fit(self, data: TrainingData, ctx: RunContext) -> None:
        """Train, resuming from ``ctx.load_checkpoint()`` if any; write what ``synthesize`` needs to ``ctx.folder``.

        Two optional JSON files there add information to the report: ``facts.json`` ({"parameters": n}, of all trained
        networks) and ``weights.json`` (source of the pretrained weights).
        """
        ...

    def synthesize(
        self, data: TrainingData, counts: Mapping[int, int], fitted: Path, ctx: RunContext
    ) -> Iterable[SyntheticImage]:
        """Yield ``counts[label]`` images of each label from the model in ``fitted``.

        Images are uint8 [S, S, 3] of the suite's side, or of the method's own size (``OwnSize``, ``Translator``); other
        sizes are an error. The first n images of a label do not depend on the requested number.
        """
        ...


class Classifier(Protocol):
    """A network to be fine-tuned; all classifiers use the same trainer."""

    version: ClassVar[int]
    Config: ClassVar[type]

    def __init__(self, config: Any) -> None: ...

    def check(self) -> None:
        """Raise ``ConfigError`` if the network cannot be built (for example an unknown timm name). May import torch."""
        ...

    def build(self, num_classes: int, image_size_px: int, weights: Path | None) -> torch.nn.Module:
        """Return a module: float [B, 3, H, W] in [0, 1] -> logits [B, num_classes]; it normalises its input itself."""
        ...


class Metric(Protocol):
    """A custom score of a classifier: a pure function of its saved predictions on a fold's test part.

    It is computed for every arm in addition to the built-in metrics; the report compares it with `none` over folds.
    """

    version: ClassVar[int]  # increase it when the same predictions give other numbers
    Config: ClassVar[type]
    per_patient: ClassVar[bool]  # whether it is also computed with one row per patient, if each patient has one class

    def __init__(self, config: Any) -> None: ...

    def check(self, classes: Sequence[str]) -> None:
        """Raise ``ConfigError`` if the metric does not support these classes. Called before training starts."""
        ...

    def measures(self) -> Mapping[str, Measure]:
        """Return the measures that ``compute`` returns, by name; usually one. Depends on the config only."""
        ...

    def compute(
        self,
        y_true: npt.NDArray[np.int64],
        y_prob: npt.NDArray[np.float64],
        groups: Sequence[str],
        classes: Sequence[str],
    ) -> Mapping[str, float]:
        """Return a number for each of ``measures``; NaN if it is undefined for these images.

        ``y_true`` int64 [N] indexes ``classes``, ``y_prob`` float64 [N, C] has rows that sum to 1, ``groups`` [N] are
        the patients. All images have equal weight and their order does not matter. Of two classes, the second one (1)
        is the positive class, independent of the order in the data set.
        """
        ...
