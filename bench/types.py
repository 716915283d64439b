"""The values that flow through the harness, one way: record -> split -> synthetic set -> result."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from bench.names import check_classes

Uint8Images = npt.NDArray[np.uint8]  # [N, H, W, 3], RGB, 0..255
Size = int | tuple[int, int]  # px: the side of a square, or (height, width)
Resize = Literal["squash", "crop"]  # stretch to the size; or scale the shorter side and cut the centre
Unit = Literal["group", "image"]  # what a split keeps in one part: a patient's images, or no more than one image


def height_width(size_px: Size) -> tuple[int, int]:
    """Return (height, width) in px of a size."""
    return (size_px, size_px) if isinstance(size_px, int) else size_px


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """One image of a dataset.

    ``path`` is POSIX, relative to the dataset's root, and unique; ``label`` indexes ``DatasetIndex.classes``;
    ``group_id`` is the patient (or the image itself where nothing is known); ``sha256`` is of the file's bytes.
    ``attributes`` holds what else the layout tells (magnification, subtype, slide) as sorted pairs.
    """

    path: str
    label: int
    group_id: str
    sha256: str
    mask_paths: tuple[str, ...] = ()
    attributes: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class DataProblem:
    """Something odd about one file: ``kind`` is a short key ('truncated', 'not_an_image', 'too_small', …)."""

    path: str
    kind: str
    detail: str


@dataclass(frozen=True, slots=True)
class SkippedFiles:
    """Files of one kind that no reader takes for images: ``kind`` in words, in the plural, how many, and one path."""

    kind: str
    count: int
    example: str


@dataclass(frozen=True, slots=True)
class GreyWindow:
    """Which grey values become 0 to 255 in images of more than 8 bits a pixel, for a whole data set.

    ``low`` and ``high`` are values as stored, both included; ``how`` says in words where they come from.
    """

    low: float
    high: float
    how: str = field(default="", compare=False)


@dataclass(frozen=True)
class DatasetIndex:
    """Everything known of a dataset before any pixel is used. ``records`` are sorted by path.

    ``problems`` are images that are not used, or odd; ``skipped`` the files that were not even taken for images.
    ``window`` is None where every image has 8 bits a channel.
    ``positive`` is the positive one of two classes by name, None where nothing tells it (``bench.data.positive``).
    """

    name: str
    root: Path
    classes: tuple[str, ...]
    records: tuple[ImageRecord, ...]
    problems: tuple[DataProblem, ...] = ()
    window: GreyWindow | None = None
    skipped: tuple[SkippedFiles, ...] = ()
    positive: str | None = None

    @property
    def positive_label(self) -> int:
        """The index of the positive class; 1 where none is named."""
        return 1 if self.positive is None else self.classes.index(self.positive)

    def __post_init__(self) -> None:
        check_classes(f"data set {self.name}", self.classes)

    def by_path(self) -> dict[str, ImageRecord]:
        """Return the records by their path."""
        return {r.path: r for r in self.records}


@dataclass(frozen=True)
class Split:
    """One fold: the paths of its three parts. Groups are disjoint; ``bench.data.splits`` checks it on every use.

    ``fingerprint`` is that of the dataset index it was drawn from. With the unit 'image' every image counts as a group
    of its own, so that parts share patients: the protocol 'published' alone may have it, and ``unused`` images.
    """

    fold: int
    repeat: int
    protocol: str
    seed: int
    fingerprint: str
    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]
    unit: Unit = "group"
    unused: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SyntheticImage:
    """What a generative method yields. ``image`` is uint8 [H, W, 3].

    ``source_path`` names the training image that was translated; None for noise-to-image methods.
    """

    image: npt.NDArray[np.uint8]
    label: int
    seed: int
    source_path: str | None = None


@dataclass(frozen=True, slots=True)
class SyntheticRecord:
    """One row of a synthetic folder's ``manifest.csv``; ``path`` is relative to the folder."""

    path: str
    label: int
    seed: int
    checkpoint: str
    source_path: str = ""
    source_group: str = ""


@dataclass(frozen=True)
class SyntheticSet:
    """A finished synthetic folder, and every group that its generator has seen (leakage is checked on them)."""

    folder: Path
    records: tuple[SyntheticRecord, ...]
    seen_groups: tuple[str, ...]


@dataclass(frozen=True)
class ProfiledStep:
    """One way of taking a training step, to be measured.

    ``build`` makes everything ready (networks, optimisers, images) and returns the step; ``count`` the same in
    operations that torch's FLOP counter sees, neither compiled nor recorded. ``dtype`` is torch's name for the
    arithmetic of its matrix products.
    """

    build: Callable[[], Callable[[], object]]
    count: Callable[[], Callable[[], object]]
    dtype: str = "float32"


@dataclass(frozen=True)
class FloatRange:
    """Numbers to search, from ``low`` to ``high``, both included; with ``log``, by their logarithms."""

    low: float
    high: float
    log: bool = False


@dataclass(frozen=True)
class IntRange:
    """Whole numbers to search, from ``low`` to ``high``, both included; with ``log``, by their logarithms."""

    low: int
    high: int
    log: bool = False


@dataclass(frozen=True)
class Choice:
    """Values to search that have no order: numbers, texts, truth values, None."""

    values: tuple[Any, ...]


SearchRange = FloatRange | IntRange | Choice


@dataclass(frozen=True)
class Measure:
    """What a metric's number means: which way is better, its ``unit`` in words ('' for a plain number), its bounds."""

    better: Literal["higher", "lower"]
    unit: str = ""
    low: float = -math.inf
    high: float = math.inf


@dataclass(frozen=True)
class ResultRow:
    """One line of the store: what a cell was, how it ended, what it measured.

    ``metrics`` are flat (``test/balanced_accuracy``), ``costs`` carry their unit in the key (``elapsed_s``).
    ``status`` is 'done', 'failed' or 'skipped'. Fields that do not apply are None.
    """

    key: str
    stage: str
    suite: str
    dataset: str
    status: str
    method: str | None = None
    fold: int | None = None
    repeat: int | None = None
    ratio: str | None = None
    classifier: str | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    costs: Mapping[str, float] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    error: str | None = None
    folder: str = ""
    finished_at: str = ""
    schema: int = 1
