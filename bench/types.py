"""Data types of the harness, in the order of processing: record -> split -> synthetic set -> result."""

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
Resize = Literal["squash", "crop"]  # stretch to the size; or scale the shorter side and crop the centre
At = tuple[int, int, int | None]  # fold, repeat, train_patients
Alpha = Literal["white", "drop"]  # transparent pixels: composited on white, or their stored colours
Unit = Literal["group", "image"]  # unit of a split: all images of a patient stay in one part, or each image is alone


def height_width(size_px: Size) -> tuple[int, int]:
    """Return (height, width) in px of a size."""
    return (size_px, size_px) if isinstance(size_px, int) else size_px


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """One image of a dataset.

    ``path`` is POSIX, relative to the dataset's root, and unique; ``label`` indexes ``DatasetIndex.classes``;
    ``group_id`` is the patient (or the image itself if the patient is unknown); ``sha256`` is of the file's bytes.
    ``attributes`` holds further information from the layout (magnification, subtype, slide) as sorted tuples.
    """

    path: str
    label: int
    group_id: str
    sha256: str
    mask_paths: tuple[str, ...] = ()
    attributes: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class DataProblem:
    """A problem of one file: ``kind`` is a short key ('truncated', 'not_an_image', 'too_small', …)."""

    path: str
    kind: str
    detail: str


@dataclass(frozen=True, slots=True)
class SkippedFiles:
    """Files of one kind that are not read as images: ``kind`` in words (plural), their number, and one example path."""

    kind: str
    count: int
    example: str


@dataclass(frozen=True, slots=True)
class GreyWindow:
    """Grey values that are mapped to 0 and 255 in images with more than 8 bits per pixel, for a whole data set.

    ``low`` and ``high`` are stored values, both inclusive; ``how`` describes in words how they were determined;
    ``declared``: by the user, for every image.
    """

    low: float
    high: float
    how: str = field(default="", compare=False)
    declared: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True)
class PixelPolicy:
    """How the files of a data set become 8-bit RGB images, in training, audit and page alike (``bench.data.pixels``).

    ``window``: that of grey images of more than 8 bits, None if there is none. ``alpha``: transparent pixels are
    composited on white, or transparency is ignored ('drop'). ``page``: of files with several, counted from 1.
    """

    window: GreyWindow | None = None
    alpha: Alpha = "white"
    page: int = 1

    @property
    def suffix(self) -> str:
        """What tells the policy from others in the name of a cache; '' for the default one."""
        scaled = f"-{self.window.low:g}to{self.window.high:g}" if self.window else ""
        declared = "-all" if self.window and self.window.declared else ""
        alpha = "" if self.alpha == "white" else f"-{self.alpha}"
        return scaled + declared + alpha + (f"-page{self.page}" if self.page > 1 else "")


DEFAULT_POLICY = PixelPolicy()


@dataclass(frozen=True, slots=True)
class Conversion:
    """Images that reading changed: ``kind`` (``examine.CONVERSIONS``), their number, and one example path."""

    kind: str
    count: int
    example: str


@dataclass(frozen=True)
class DatasetIndex:
    """All information about a dataset except pixels. ``records`` are sorted by path.

    ``problems`` are images that are not used or have defects; ``skipped`` are files that are not read as images.
    ``pixels`` is how files become pixels, and ``conversions`` what this changed in some of them. ``grey``: no image has
    colour, so one channel is enough. ``group_name`` is what groups are, in the plural: 'patients', 'lesions', 'slides',
    or 'images' if nothing is known. ``positive`` is the name of the positive class of two, None if it is unknown
    (``bench.data.positive``).
    """

    name: str
    root: Path
    classes: tuple[str, ...]
    records: tuple[ImageRecord, ...]
    problems: tuple[DataProblem, ...] = ()
    pixels: PixelPolicy = DEFAULT_POLICY
    skipped: tuple[SkippedFiles, ...] = ()
    positive: str | None = None
    grey: bool = False
    group_name: str = ""
    conversions: tuple[Conversion, ...] = ()

    @property
    def positive_label(self) -> int:
        """The index of the positive class; 1 if none is given."""
        return 1 if self.positive is None else self.classes.index(self.positive)

    def __post_init__(self) -> None:
        check_classes(f"data set {self.name}", self.classes)

    def by_path(self) -> dict[str, ImageRecord]:
        """Return the records by their path."""
        return {r.path: r for r in self.records}


@dataclass(frozen=True)
class Split:
    """One fold: the paths of its three parts. Groups are disjoint; ``bench.data.splits`` checks this on every use.

    ``fingerprint`` is that of the dataset index it was created from. With unit 'image', every image is a separate
    group, so parts share patients; only the protocol 'published' allows this. ``unused`` images are in no part.
    In a learning curve ``fold`` is the number of the training set, and ``train_patients`` its size, validation patients
    included; None in other protocols. ``unlabelled`` are images of further patients that methods may use without
    labels.
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
    train_patients: int | None = None
    unlabelled: tuple[str, ...] = ()

    @property
    def at(self) -> At:
        """Fold, repeat and, in a learning curve, the size of the training set: what tells folds of a suite apart."""
        return (self.fold, self.repeat, self.train_patients)


@dataclass(frozen=True, slots=True)
class SyntheticImage:
    """One image of a generative method. ``image`` is uint8 [H, W, 3].

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
    """A finished synthetic folder, and all groups that its generator was trained on (for the leakage checks)."""

    folder: Path
    records: tuple[SyntheticRecord, ...]
    seen_groups: tuple[str, ...]


@dataclass(frozen=True)
class ProfiledStep:
    """One variant of a training step, to be measured.

    ``build`` prepares networks, optimisers and images and returns the step; ``count`` does the same with operations
    that torch's FLOP counter can count (not compiled, no CUDA graph). ``dtype`` is torch's name of the data type of its
    matrix products. ``facts`` describe the last build: its run mode, a warning if the wanted one failed.
    """

    build: Callable[[], Callable[[], object]]
    count: Callable[[], Callable[[], object]]
    dtype: str = "float32"
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class FloatRange:
    """Real numbers to search, from ``low`` to ``high``, both inclusive; with ``log``, on a logarithmic scale."""

    low: float
    high: float
    log: bool = False


@dataclass(frozen=True)
class IntRange:
    """Integers to search, from ``low`` to ``high``, both inclusive; with ``log``, on a logarithmic scale."""

    low: int
    high: int
    log: bool = False


@dataclass(frozen=True)
class Choice:
    """Unordered values to search: numbers, strings, booleans, None."""

    values: tuple[Any, ...]


SearchRange = FloatRange | IntRange | Choice


@dataclass(frozen=True)
class Measure:
    """Description of a measure: which direction is better, its ``unit`` in words ('' if none), its bounds."""

    better: Literal["higher", "lower"]
    unit: str = ""
    low: float = -math.inf
    high: float = math.inf


@dataclass(frozen=True)
class ResultRow:
    """One line of the store: a cell's coordinates, status and measurements.

    ``metrics`` are flat (``test/balanced_accuracy``), ``costs`` have their unit in the key (``elapsed_s``).
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
    train_patients: int | None = None  # size of the training set, of a learning curve only
