"""The data that stages read: the training data of one fold, its parts for evaluation, and synthetic folders.

A generator is part of the training procedure. A synthetic set is therefore accepted only if every group that its
generator has seen belongs to the training groups of the fold, and if none of its images is a held-out image.
"""

from __future__ import annotations

import hashlib
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from bench.data.cache import ImageCache
from bench.data.published_split import by_unit
from bench.data.splits import check_split
from bench.data.synthetic_files import MANIFEST, SEEN, read_synthetic
from bench.errors import ConfigError, DataError, LeakageError
from bench.leakage import PARTS, UNLABELLED, FoldParts, PartName, SourceImages, pixel_sums
from bench.types import DatasetIndex, ImageRecord, Resize, Size, Split, SyntheticRecord, SyntheticSet, Uint8Images

Labels = npt.NDArray[np.int64]


class Part(NamedTuple):
    """One part of a fold, in the order of the split: images uint8 [N, H, W, 3], labels int64 [N], groups [N]."""

    records: tuple[ImageRecord, ...]
    images: Uint8Images
    labels: Labels
    groups: tuple[str, ...]

    @property
    def source_images(self) -> SourceImages:
        """The source images of this part, for leakage checks."""
        return SourceImages.of(self.records)


@dataclass(frozen=True)
class LabelledImages:
    """A training set: images uint8 [N, S, S, 3], labels int64 [N], is_synthetic bool [N]; real images come first.

    ``source_images`` are those of the real images (synthetic ones were checked when they were loaded); ``fold_parts``
    are those of the fold.
    """

    images: Uint8Images
    labels: Labels
    is_synthetic: npt.NDArray[np.bool_]
    source_images: SourceImages
    fold_parts: FoldParts


class TrainingPart:
    """The training part of one fold, as methods see it (``TrainingData``); it gives no access to the other parts.

    Records have the groups that the split uses: in an image-level split, every image is its own group.
    """

    _open: ClassVar[tuple[PartName, ...]] = ("train",)

    def __init__(
        self, index: DatasetIndex, split: Split, cache: ImageCache, image_size_px: int, resize: Resize = "squash"
    ) -> None:
        self._fold_parts = check_split(split, index)
        self._drawn_from, index = index, by_unit(index, split.unit)
        self._index, self._split, self._cache, self._resize = index, split, cache, resize
        self._record = index.by_path()
        self.classes: tuple[str, ...] = index.classes
        self.records: Sequence[ImageRecord] = tuple(self._record[path] for path in split.train)
        self._without_labels: frozenset[str] = frozenset()  # groups of unlabelled images, once these were asked for
        self.labels: Labels = np.array([r.label for r in self.records], dtype=np.int64)
        self.image_size_px = image_size_px
        self.grey: bool = index.grey

    def images(self, size_px: Size | None = None) -> Uint8Images:
        """Return uint8 [N, H, W, 3] in the order of ``records``, a copy; at the suite's size for None."""
        return self._part("train", self.image_size_px if size_px is None else size_px).images

    @property
    def seen_groups(self) -> frozenset[str]:
        """The groups whose images a method has seen: those of ``records``, and of unlabelled images if it asked."""
        return frozenset(r.group_id for r in self.records) | self._without_labels

    def unlabelled_images(self, size_px: Size | None = None) -> Uint8Images:
        """Return images of further patients without labels, uint8 [M, H, W, 3]; M is 0 unless the split has some."""
        self._without_labels = frozenset(self._record[path].group_id for path in self._split.unlabelled)
        return self._read(self._split.unlabelled, self.image_size_px if size_px is None else size_px).images

    def _part(self, name: PartName, size_px: Size) -> Part:
        require_open(name, self._open, self._fold_parts.fold)
        return self._read(getattr(self._split, name), size_px)

    def _read(self, paths: Sequence[str], size_px: Size) -> Part:
        rows = self._rows(paths)
        records = tuple(self._index.records[i] for i in rows)
        images = np.asarray(self._cache.load(self._index, size_px, self._resize)[rows])
        labels = np.array([r.label for r in records], dtype=np.int64)
        return Part(records, images, labels, tuple(r.group_id for r in records))

    def _rows(self, paths: Sequence[str]) -> list[int]:
        row = {r.path: i for i, r in enumerate(self._index.records)}
        return [row[path] for path in paths]


class FoldData(TrainingPart):
    """One fold, as the harness sees it: the training part and the held-out parts for evaluation.

    Raises ``LeakageError`` or ``DataError`` as ``check_split`` on construction.
    """

    _open = (*PARTS, UNLABELLED)

    @property
    def fold_parts(self) -> FoldParts:
        """The source images of each part, used by the leakage checks of this fold."""
        return self._fold_parts

    @property
    def training(self) -> TrainingPart:
        """The training part only, for methods."""
        return TrainingPart(self._drawn_from, self._split, self._cache, self.image_size_px, self._resize)

    def train_validation(self) -> TrainValidationView:
        """Return this fold with its test part locked, for model selection and tuning."""
        return TrainValidationView(self._drawn_from, self._split, self._cache, self.image_size_px, self._resize)

    def part(self, name: PartName, size_px: Size | None = None) -> Part:
        """Return the records, images, labels and groups of a part, in the split's order.

        Images have the suite's size for None.
        """
        return self._part(name, self.image_size_px if size_px is None else size_px)

    def held_out(self) -> Part:
        """Return every image outside training and validation part, by path: the test part and unused images."""
        require_open("test", self._open, self._fold_parts.fold)
        return self._read(sorted((*self._split.test, *self._split.unused)), self.image_size_px)

    def pixel_sums(self, name: PartName) -> list[str]:
        """Return a checksum of each image's pixels at the suite's size; it identifies equal images."""
        images = self._cache.load(self._index, self.image_size_px, self._resize)
        return pixel_sums(images[i] for i in self._rows(getattr(self._split, name)))


class TrainValidationView(FoldData):
    """A fold for early stopping, model selection and tuning: ``part('test')`` raises ``LeakageError``."""

    _open = ("train", "validation", "unlabelled")


def require_open(name: PartName, opened: Sequence[PartName], fold: str) -> None:
    """Raise ``LeakageError`` unless the part is one that the caller may read."""
    if name not in opened:
        raise LeakageError(
            f"{fold}: the {name} part was asked for, but only {' and '.join(opened)} may be read here; select by "
            "validation images, and read the test part once, after all selection is done"
        )


def ratio_counts(ratio: str | float, labels: npt.ArrayLike) -> dict[int, int]:
    """Return how many synthetic images of each class a ratio requires, given the real ``labels`` [N].

    A number r gives r times the real count of every class, rounded half up; ``'balance'`` fills every class up to the
    size of the largest.

    >>> ratio_counts(0.5, [0, 0, 0, 1]), ratio_counts("balance", [0, 0, 0, 1])
    ({0: 2, 1: 1}, {0: 0, 1: 2})
    """
    values, real = np.unique(np.asarray(labels, dtype=np.int64), return_counts=True)
    counts = {int(v): int(n) for v, n in zip(values, real, strict=True)}
    if ratio == "balance":
        return {label: max(counts.values()) - n for label, n in counts.items()}
    try:
        factor = float(ratio)
    except (TypeError, ValueError):
        factor = -1.0
    if not 0 <= factor < float("inf"):
        raise ConfigError(f"ratio is {ratio!r}; expected a number of at least 0, or 'balance'")
    return {label: int(factor * n + 0.5) for label, n in counts.items()}


def assemble_training_set(
    data: FoldData,
    synthetic: SyntheticSet | None,
    ratio_counts: Mapping[int, int],
    leave_out: Container[str] = (),
) -> LabelledImages:
    """Return the fold's real training images and the first ``ratio_counts[label]`` synthetic images of each label.

    Of these, the images whose paths in the synthetic folder are in ``leave_out`` are excluded and not replaced. Raises
    ``LeakageError`` when the generator saw a group outside the fold's training part, or made a held-out image, and
    ``DataError`` when the set has too few images.
    """
    real, source_images = data.images(), SourceImages.of(data.records)
    wanted = {label: n for label, n in ratio_counts.items() if n > 0}
    if not wanted:
        return LabelledImages(real, data.labels, np.zeros(len(real), dtype=np.bool_), source_images, data.fold_parts)
    if synthetic is None:
        raise DataError(f"synthetic images were requested ({wanted}), but no synthetic set was given")
    check_generator(synthetic.folder, synthetic.seen_groups, data.fold_parts)
    check_sources(synthetic, data.fold_parts)
    chosen = first_of_each(synthetic, wanted, data.classes, leave_out)
    paths = [synthetic.folder / r.path for r in chosen]
    extra = np.stack([read_synthetic(path, data.image_size_px) for path in paths]) if paths else real[:0]
    check_content(paths, extra, data)
    return LabelledImages(
        np.concatenate([real, extra]),
        np.concatenate([data.labels, np.array([r.label for r in chosen], dtype=np.int64)]),
        np.arange(len(real) + len(extra)) >= len(real),
        source_images,
        data.fold_parts,
    )


def first_of_each(
    synthetic: SyntheticSet, counts: Mapping[int, int], classes: Sequence[str], leave_out: Container[str] = ()
) -> list[SyntheticRecord]:
    """Return the first ``counts[label]`` records of each label, sorted by label, without the excluded ones.

    Raises ``DataError`` when the set has too few.
    """
    chosen: list[SyntheticRecord] = []
    for label, n in sorted(counts.items()):
        rows = [r for r in synthetic.records if r.label == label][:n]
        if len(rows) < n:
            raise DataError(f"{synthetic.folder} has {len(rows)} images of {classes[label]}; {n} are needed")
        chosen += [r for r in rows if r.path not in leave_out]
    return chosen


def check_generator(folder: Path, seen_groups: Iterable[str], fold_parts: FoldParts) -> None:
    """Raise ``LeakageError`` unless every group that the generator of ``folder`` saw is in the training part.

    Unlabelled groups of the fold are allowed as well: a generator can learn from images without labels.
    """
    seen = SourceImages(groups=frozenset(seen_groups))
    advice = "fit it on this fold's training part"
    fold_parts.require(f"the generator of {folder}", seen, "train", advice, unlabelled=True)


def check_sources(synthetic: SyntheticSet, fold_parts: FoldParts) -> None:
    """Raise ``LeakageError`` unless every source image is in the training part and in the generator's seen groups."""
    sources = SourceImages(
        frozenset(r.source_group for r in synthetic.records if r.source_group),
        frozenset(r.source_path for r in synthetic.records if r.source_path),
    )
    if sources != SourceImages():
        what = f"the translations in {synthetic.folder}"
        fold_parts.require(what, sources, "train", "translate this fold's training images only")
    if unseen := sorted(sources.groups - set(synthetic.seen_groups)):
        raise LeakageError(
            f"{synthetic.folder / SEEN} leaves out groups whose images {MANIFEST} names as sources, such as "
            f"{unseen[0]!r}: one of the two files was changed; delete the folder and run again"
        )


def check_content(paths: Sequence[Path], images: Uint8Images, fold: FoldData) -> None:
    """Raise ``LeakageError`` when a synthetic image (uint8 [N, S, S, 3], or its file) is a held-out image."""
    fold_parts = fold.fold_parts.with_content({name: fold.pixel_sums(name) for name in ("validation", "test")})
    for path, pixels in zip(paths, pixel_sums(images), strict=True):
        shown = SourceImages(content=frozenset({pixels, hashlib.sha256(path.read_bytes()).hexdigest()}))
        fold_parts.require(f"the synthetic image {path}", shown, "train", "a generator must not have held-out images")
