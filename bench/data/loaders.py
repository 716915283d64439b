"""What stages read: one fold's training data, its parts for evaluation, synthetic folders, and both put together.

A generator is part of the training set, so a synthetic set is let in only if every group that its generator has seen
belongs to the fold's training groups.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from bench.data.cache import ImageCache, Resize
from bench.data.records import as_rgb, open_image
from bench.data.splits import check_split
from bench.errors import ConfigError, DataError, LeakageError
from bench.files import write_atomic
from bench.provenance import FoldBorders
from bench.types import DatasetIndex, ImageRecord, Split, SyntheticRecord, SyntheticSet, Uint8Images

Labels = npt.NDArray[np.int64]
PartName = Literal["train", "validation", "test"]
MANIFEST, SEEN = "manifest.csv", "seen_groups.json"


class Part(NamedTuple):
    """One part of a fold, in the order of the split: images uint8 [N, S, S, 3], labels int64 [N], groups [N]."""

    records: tuple[ImageRecord, ...]
    images: Uint8Images
    labels: Labels
    groups: tuple[str, ...]


@dataclass(frozen=True)
class LabelledImages:
    """A training set: images uint8 [N, S, S, 3], labels int64 [N], is_synthetic bool [N]; real images come first."""

    images: Uint8Images
    labels: Labels
    is_synthetic: npt.NDArray[np.bool_]


class TrainingPart:
    """The training part of one fold, as methods see it (``TrainingData``); nothing public leads to the other parts."""

    def __init__(
        self, index: DatasetIndex, split: Split, cache: ImageCache, image_size_px: int, resize: Resize = "squash"
    ) -> None:
        self._borders = check_split(split, index)
        self._index, self._split, self._cache, self._resize = index, split, cache, resize
        record = index.by_path()
        self.classes: tuple[str, ...] = index.classes
        self.records: Sequence[ImageRecord] = tuple(record[path] for path in split.train)
        self.labels: Labels = np.array([r.label for r in self.records], dtype=np.int64)
        self.image_size_px = image_size_px

    def images(self, size_px: int | None = None) -> Uint8Images:
        """Return uint8 [N, S, S, 3] in the order of ``records``, a copy; S is the suite's size for None."""
        return self._part("train", self.image_size_px if size_px is None else size_px).images

    def _part(self, name: PartName, size_px: int) -> Part:
        row = {r.path: i for i, r in enumerate(self._index.records)}
        rows = [row[path] for path in getattr(self._split, name)]
        records = tuple(self._index.records[i] for i in rows)
        images = np.asarray(self._cache.load(self._index, size_px, self._resize)[rows])
        labels = np.array([r.label for r in records], dtype=np.int64)
        return Part(records, images, labels, tuple(r.group_id for r in records))


class FoldData(TrainingPart):
    """One fold, as the harness sees it: the training part, and the held-out ones for evaluation.

    Raises ``LeakageError`` or ``DataError`` as ``check_split`` when made.
    """

    @property
    def borders(self) -> FoldBorders:
        """What each part is made of: the judge of everything that is made for this fold."""
        return self._borders

    @property
    def training(self) -> TrainingPart:
        """The training part alone: what to hand to a method."""
        return TrainingPart(self._index, self._split, self._cache, self.image_size_px, self._resize)

    def part(self, name: PartName) -> Part:
        """Return the records, images, labels and groups of 'train', 'validation' or 'test', in the split's order."""
        return self._part(name, self.image_size_px)


def ratio_counts(ratio: str | float, labels: npt.ArrayLike) -> dict[int, int]:
    """Return how many synthetic images of each class a ratio asks for, given the real ``labels`` [N].

    A number r gives r times the real count of every class, rounded half up; ``'balance'`` fills every class up to the
    largest one.

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
        raise ConfigError(f"ratio is {ratio!r}; a number of at least 0, or 'balance', is needed")
    return {label: int(factor * n + 0.5) for label, n in counts.items()}


def assemble_training_set(
    data: TrainingPart, synthetic: SyntheticSet | None, ratio_counts: Mapping[int, int]
) -> LabelledImages:
    """Return the fold's real training images, and the first ``ratio_counts[label]`` synthetic ones of each label.

    Raises ``LeakageError`` when the generator saw a group outside the fold's training part, and ``DataError`` when the
    set has too few images.
    """
    real = data.images()
    wanted = {label: n for label, n in ratio_counts.items() if n > 0}
    if not wanted:
        return LabelledImages(real, data.labels, np.zeros(len(real), dtype=np.bool_))
    if synthetic is None:
        raise DataError(f"synthetic images were asked for ({wanted}) without a synthetic set")
    check_synthetic(synthetic, data.records)
    chosen: list[SyntheticRecord] = []
    for label, n in sorted(wanted.items()):
        rows = [r for r in synthetic.records if r.label == label][:n]
        if len(rows) < n:
            raise DataError(f"{synthetic.folder} has {len(rows)} images of {data.classes[label]}; {n} are needed")
        chosen += rows
    extra = np.stack([_read_image(synthetic.folder / r.path, data.image_size_px) for r in chosen])
    return LabelledImages(
        np.concatenate([real, extra]),
        np.concatenate([data.labels, np.array([r.label for r in chosen], dtype=np.int64)]),
        np.arange(len(real) + len(extra)) >= len(real),
    )


def check_synthetic(synthetic: SyntheticSet, training: Iterable[ImageRecord]) -> None:
    """Raise ``LeakageError`` unless all that the generator saw, and every source image, is of the training part."""
    records = list(training)
    groups, paths = {r.group_id for r in records}, {r.path for r in records}
    if not synthetic.seen_groups:
        raise LeakageError(f"{synthetic.folder} does not say which groups its generator saw, so it cannot be trusted")
    held_out = sorted(set(synthetic.seen_groups) - groups)
    if held_out:
        raise LeakageError(
            f"the generator of {synthetic.folder} has seen held-out groups: {', '.join(held_out)}; "
            "fit it on this fold's training part"
        )
    for row in synthetic.records:
        if (row.source_group and row.source_group not in groups) or (row.source_path and row.source_path not in paths):
            raise LeakageError(
                f"{synthetic.folder / row.path} was made from {row.source_path} of group {row.source_group!r}, "
                "which is held out from this fold's training"
            )


def save_manifest(folder: Path, records: Iterable[SyntheticRecord], seen_groups: Iterable[str]) -> None:
    """Write ``manifest.csv``, one row an image, and ``seen_groups.json`` beside the images in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / MANIFEST, "w", encoding="utf-8", newline="") as f:
        writer = csv.DictWriter(f, [c.name for c in fields(SyntheticRecord)])
        writer.writeheader()
        writer.writerows(asdict(r) for r in records)
    write_atomic(folder / SEEN, json.dumps(sorted(set(seen_groups)), indent=1, ensure_ascii=False) + "\n")


def load_synthetic(folder: Path) -> SyntheticSet:
    """Read what ``save_manifest`` wrote. Raises ``DataError``."""
    try:
        with open(folder / MANIFEST, encoding="utf-8", newline="") as f:
            rows = [
                SyntheticRecord(
                    path=r["path"],
                    label=int(r["label"]),
                    seed=int(r["seed"]),
                    checkpoint=r["checkpoint"],
                    source_path=r["source_path"],
                    source_group=r["source_group"],
                )
                for r in csv.DictReader(f)
            ]
        seen = tuple(str(g) for g in json.loads((folder / SEEN).read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError) as e:
        raise DataError(f"{folder} is not a finished synthetic folder ({type(e).__name__}: {e}); run again") from e
    return SyntheticSet(folder, tuple(rows), seen)


def _read_image(path: Path, size_px: int) -> npt.NDArray[np.uint8]:
    from PIL import Image

    try:
        image = as_rgb(open_image(path.read_bytes()))
    except (OSError, SyntaxError) as e:
        raise DataError(f"the synthetic image {path} cannot be read ({e}); delete its folder and run again") from e
    if image.size != (size_px, size_px):
        image = image.resize((size_px, size_px), Image.Resampling.BICUBIC)
    return np.asarray(image, dtype=np.uint8)
