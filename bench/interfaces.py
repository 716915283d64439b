"""What the harness asks of a dataset, an augmentation method, a classifier and a metric; and what it gives them.

A plug-in is a class with a ``Config`` (a frozen dataclass with a default for every field, units in the names), built as
``cls(config)``. It is named by one line in ``bench/registry.py`` or by an entry point of another package.
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
    ProfiledStep,
    SearchRange,
    Size,
    SyntheticImage,
    Uint8Images,
)

if TYPE_CHECKING:
    import torch


@runtime_checkable
class Dataset(Protocol):
    """A labelled, grouped set of images on disk.

    One whose images are stained with haematoxylin says so by a class attribute ``haematoxylin = True``: translations of
    a set without masks can then be judged by its nuclei (``dab = True``: those may be brown with DAB instead). What
    kind of images it has it may say by ``modality``, such as 'ultrasound'. Which of two classes is the positive one it
    says by ``DatasetIndex.positive``, where the names of the classes do not imply it (``bench.data.positive``).
    """

    Config: ClassVar[type]

    def __init__(self, config: Any) -> None: ...

    def index(self, root: Path | None, cache: Path) -> DatasetIndex:
        """List the images under ``root`` (None: the user named no folder).

        ``cache`` is a folder for what is costly to find out again. Raises ``DataError`` with the path and the expected
        layout when the data are missing or foreign.
        """
        ...


class TrainingData(Protocol):
    """The training part of one fold: all that a method may ever see."""

    @property
    def classes(self) -> tuple[str, ...]: ...

    @property
    def records(self) -> Sequence[ImageRecord]: ...

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """Class indices, int64 [N], in the order of ``records``."""
        ...

    @property
    def image_size_px(self) -> int:
        """The suite's image side in pixels (images are square)."""
        ...

    def images(self, size_px: Size | None = None) -> Uint8Images:
        """Return uint8 [N, H, W, 3] in the order of ``records``; ``None`` means the suite's size.

        A pair is (height, width), for a method whose own images are no squares.
        """
        ...


class RunContext(Protocol):
    """What a stage gets from the harness. Everything written lands in ``folder``, which survives an interruption."""

    folder: Path
    device: str
    seed: int
    weights: Path | None  # a local file or folder of pretrained weights, from `weights:` or BENCH_WEIGHTS
    cache: Path | None  # a folder for what is costly to find out again, shared by all cells; None: keep nothing

    def log(self, step: int, total: int, metrics: Mapping[str, float]) -> None:
        """Record losses by name at a step and report progress (``step`` of ``total``). Cheap; call it every N steps."""
        ...

    def phase(self, name: str) -> AbstractContextManager[None]:
        """Time a block under a cost phase: 'data', 'step', 'sample', 'evaluate', 'checkpoint'."""
        ...

    def save_checkpoint(self, state: Mapping[str, Any]) -> None:
        """Store a resumable state (tensors, numbers, strings, lists, dicts) atomically, replacing the last one."""
        ...

    def load_checkpoint(self) -> dict[str, Any] | None:
        """Return the last checkpoint of this very cell, or None at a cold start."""
        ...

    def save_images(self, name: str, step: int, images: Uint8Images) -> None:
        """Keep a sample grid: uint8 [N, H, W, 3] tiled into one PNG, shown by step in MLflow and in the report."""
        ...

    def fidelity(self, images: Uint8Images, labels: npt.NDArray[np.int64]) -> Mapping[str, float]:
        """Return KID and FID of images uint8 [N, H, W, 3], claimed to be of ``labels`` [N], during ``fit`` only.

        Against the fold's real *training* images of these classes, by the suite's extractor, whose tag ends the names:
        'kid_<tag>', 'fid_<tag>'. The same images give the same numbers, and nobody's random numbers are touched.
        Costly; to be logged as 'fidelity/…'. Raises ``ConfigError`` in other stages.
        """
        ...


class OnlineAugmenter(Protocol):
    """A method that changes how real images are fed to the classifier, and makes no images of its own."""

    kind: ClassVar[Literal["online"]]
    version: ClassVar[int]
    Config: ClassVar[type]

    def __init__(self, config: Any) -> None: ...

    def sampling_weights(self, labels: npt.NDArray[np.int64]) -> npt.NDArray[np.float64] | None:
        """Return weights [N] to draw training images by, or None for plain shuffling."""
        ...

    def transform(
        self, images: torch.Tensor, targets: torch.Tensor, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Augment one training batch: images float [B, 3, H, W] in [0, 1]; targets float [B, C], rows sum to 1.

        All randomness comes from ``generator`` (on the CPU).
        """
        ...


@runtime_checkable
class CarriesMasks(Protocol):
    """What an online method offers besides when it can change a mask along with its image.

    The harness finds it by its method and then trains segmentation networks with it, too.
    """

    def transform_with_masks(
        self, images: torch.Tensor, masks: torch.Tensor, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Augment one training batch: images float [B, 3, H, W] in [0, 1], masks float [B, H, W] of 0 and 1.

        Both are moved alike; a mask stays one of 0 and 1. All randomness comes from ``generator`` (on the CPU).
        """
        ...


class GenerativeAugmenter(Protocol):
    """A method that learns from training images and then makes synthetic ones.

    One that wants images brought to size otherwise than the suite says has an attribute ``resize``, 'squash' or 'crop'
    (None: as the suite): the images that it gets and that its own are compared with are then made that way.
    """

    kind: ClassVar[Literal["generative"]]
    version: ClassVar[int]  # raise it when the same config would give other images: old cells are then not reused
    Config: ClassVar[type]

    def __init__(self, config: Any) -> None: ...

    def check(self, classes: Sequence[str]) -> None:
        """Raise ``ConfigError`` when the method cannot serve these classes. Called before anything is trained."""
        ...

    def fit(self, data: TrainingData, ctx: RunContext) -> None:
        """Train, resuming from ``ctx.load_checkpoint()`` if any; leave what ``synthesize`` needs in ``ctx.folder``.

        What else the report should know goes to two optional JSON objects there: ``facts.json`` ({"parameters": n}, of
        all networks trained) and ``weights.json`` (where pretrained weights came from).
        """
        ...

    def synthesize(
        self, data: TrainingData, counts: Mapping[int, int], fitted: Path, ctx: RunContext
    ) -> Iterable[SyntheticImage]:
        """Yield ``counts[label]`` images of each label from the model in ``fitted``.

        Images are uint8 [S, S, 3] of the suite's side, or of the method's own size (``OwnSize``, ``Translator``); any
        other one is an error. The first n images of a label do not depend on how many are asked for.
        """
        ...


@runtime_checkable
class OwnSize(Protocol):
    """What a generative method offers besides when its images have another size than the suite's.

    They are stretched to the suite's size when they are used.
    """

    def synthetic_size_px(self, image_size_px: int) -> Size:
        """Return the side, or (height, width), of the images that ``synthesize`` yields, given the suite's side."""
        ...


Transfer = Literal["none", "random", "pretrained"]


@runtime_checkable
class OfFamily(Protocol):
    """What a generative method offers besides when it is one of a family: a plain method and variants of it.

    The report's research questions find by it which methods to put beside which. Methods of one family and version
    differ in nothing but their configs; two whose configs differ in ``pretrained`` alone show what transfer learning
    changes.
    """

    family: ClassVar[str]  # 'cyclegan'

    @property
    def transfer(self) -> Transfer:
        """'pretrained' networks; the same from 'random' weights; 'none': there is nothing in it to be pretrained."""
        ...


@runtime_checkable
class Translator(Protocol):
    """What a generative method offers besides when it translates images between two classes, there and back.

    The harness finds it by its methods and then judges translations of *test* images; nothing made here ever reaches a
    classifier.
    """

    def translation_size_px(self, image_size_px: int) -> Size:
        """Return the side, or (height, width), of the images that ``cycle`` takes, given the suite's side."""
        ...

    def cycle(self, images: Uint8Images, label: int, fitted: Path, ctx: RunContext) -> tuple[Uint8Images, Uint8Images]:
        """Return (translations into the other class, reconstructions), both like ``images``, uint8 [N, H, W, 3].

        ``images`` are of class ``label``; ``fitted`` is what ``fit`` left. The way back starts from the translation as
        the generator made it, in float, not from its rounded copy. An image's result does not depend on the others.
        """
        ...


@runtime_checkable
class SelfClassifier(Protocol):
    """What a generative method offers besides when a network of its own can classify images.

    The harness finds it by its methods, and tests it on the fold's test images: as good a classifier as the method
    itself has learnt, without one trained downstream.
    """

    @property
    def discriminator_classifier(self) -> str:
        """By what it classifies, in words; '' where its config does not keep that network."""
        ...

    def classify(self, images: Uint8Images, fitted: Path, ctx: RunContext) -> npt.NDArray[np.float64]:
        """Return probabilities float64 [N, C], rows summing to 1, of images uint8 [N, H, W, 3].

        Images are of ``translation_size_px``; ``fitted`` is what ``fit`` left. A row does not depend on the others.
        """
        ...

    def translation_size_px(self, image_size_px: int) -> Size:
        """Return the side, or (height, width), of the images that ``classify`` takes, given the suite's side."""
        ...


@runtime_checkable
class Profiled(Protocol):
    """What a generative method offers besides when its training steps can be measured (`bench profile`).

    One whose step updates several networks may name them in the order of their optimisers' steps, by a class attribute
    such as ``updates = ("discriminator", "generator")``: a step's seconds are then divided by network.
    """

    def training_steps(self, image_size_px: int, batch_size: int, device: str) -> Mapping[str, ProfiledStep]:
        """Return the ways of taking a training step by name; the first is what the others are compared with."""
        ...


@runtime_checkable
class Tunable(Protocol):
    """What a method or a classifier offers besides when `bench tune` may search for its settings."""

    def search_space(self) -> Mapping[str, SearchRange]:
        """Return what to search by the config's field names; it may depend on the config that it was built with.

        That config's own values are always searched too. A classifier's ``steps`` and ``batch_size`` are no part of
        it: every arm has the same budget.
        """
        ...


class Classifier(Protocol):
    """A network to be fine-tuned; the trainer is the same for all of them."""

    version: ClassVar[int]
    Config: ClassVar[type]

    def __init__(self, config: Any) -> None: ...

    def check(self) -> None:
        """Raise ``ConfigError`` when the config cannot be built (an unknown timm name). May import torch."""
        ...

    def build(self, num_classes: int, image_size_px: int, weights: Path | None) -> torch.nn.Module:
        """Return a module: float [B, 3, H, W] in [0, 1] -> logits [B, num_classes]; it normalises its own input."""
        ...


@runtime_checkable
class ChecksSize(Protocol):
    """What a method or a classifier offers besides when it cannot be trained on images of every size."""

    def check_size(self, image_size_px: int) -> None:
        """Raise ``ConfigError`` when it cannot be trained, as configured, on images of the suite's side.

        Called when a run is planned, which is quick: torch is imported only where nothing else tells.
        """
        ...


class Metric(Protocol):
    """A score of one's own for a classifier: a pure function of its saved predictions on a fold's test part.

    Every arm gets it, beside the built-in ones; the report compares it with `none` over folds.
    """

    version: ClassVar[int]  # raise it when the same predictions would give other numbers
    Config: ClassVar[type]
    per_patient: ClassVar[bool]  # whether it is also had with each patient as one row, where patients have one class

    def __init__(self, config: Any) -> None: ...

    def check(self, classes: Sequence[str]) -> None:
        """Raise ``ConfigError`` when the metric cannot serve these classes. Called before anything is trained."""
        ...

    def measures(self) -> Mapping[str, Measure]:
        """Return what ``compute`` gives, by name: mostly one. Depends on the config only."""
        ...

    def compute(
        self,
        y_true: npt.NDArray[np.int64],
        y_prob: npt.NDArray[np.float64],
        groups: Sequence[str],
        classes: Sequence[str],
    ) -> Mapping[str, float]:
        """Return a number for each of ``measures``; NaN where the images do not define it.

        ``y_true`` int64 [N] indexes ``classes``, ``y_prob`` float64 [N, C] has rows that sum to 1, ``groups`` [N] are
        the patients. Every image counts alike, in whatever order they come. Of two classes the second, 1, is the
        positive one, whatever the order of the data set's classes.
        """
        ...
