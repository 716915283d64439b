"""Patient-disjoint splits: k-fold and repeated hold-out, stratified by class and balanced by image count.

A group (patient) is never divided. Repeated 70/30 by patient is the protocol of Spanhol et al., IEEE TBME 63(7), 2016.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np

from bench.data.left_out import losses
from bench.data.partition import Counts, partition
from bench.data.published_split import PUBLISHED, UNITS, by_unit, draw_groups, draw_images
from bench.data.records import fingerprint
from bench.data.shift_split import SHIFT, ShiftConfig, check_shift_enough, shift_counts, shifted
from bench.errors import ConfigError, DataError, LeakageError
from bench.files import write_atomic
from bench.leakage import PARTS, FoldParts, PartName, SourceImages
from bench.seeding import derive_seed
from bench.types import DatasetIndex, Split, Unit

UNUSED = "unused"
PROTOCOLS = ("kfold", "holdout", PUBLISHED, SHIFT)
HOLDOUT_TOLERANCE = 0.1  # exact shares would leave so few choices that every draw tested the same patients


@dataclass(frozen=True)
class SplitConfig:
    """How a dataset is divided.

    ``kfold``: every group is tested once per repeat, in one of ``folds`` folds. ``holdout``: ``repeats`` independent
    draws of ``test_fraction`` of each class's images (± 0.1, because patients are not divided). ``validation_fraction``
    refers to the images that are not tested. ``published``: each repeat draws a fixed number of images of each class
    twice: fold 0 image by image, so that parts share patients, fold 1 with disjoint patients
    (``bench.data.published_split``). ``shift``: as ``kfold``, but each part keeps only images with the attribute values
    in ``shift`` (``bench.data.shift_split``).
    """

    protocol: Literal["kfold", "holdout", "published", "shift"] = "kfold"
    folds: int = 5
    repeats: int = 1
    test_fraction: float = 0.3
    validation_fraction: float = 0.2
    seed: int = 0
    train_per_class: int = field(default=100, metadata={"late": True})  # images; this and the next: 'published' only
    validation_per_class: int = field(default=10, metadata={"late": True})
    test_per_class: int = field(default=10, metadata={"late": True})
    shift: ShiftConfig | None = field(default=None, metadata={"late": True})  # with 'shift' only

    def __post_init__(self) -> None:
        if self.protocol not in PROTOCOLS:
            raise ConfigError(f"split protocol is {self.protocol!r}; valid: {', '.join(PROTOCOLS)}")
        if (self.protocol == SHIFT) != (self.shift is not None):
            raise ConfigError(
                f"split protocol is {self.protocol!r} and shift is {self.shift}; only protocol 'shift' has a shift, "
                "such as shift: {attribute: magnification, train: [40, 100], test: [400]}"
            )
        for name in ("train_per_class", "validation_per_class", "test_per_class"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; at least 1 is needed")
        if self.folds < 2 or self.repeats < 1:
            raise ConfigError(
                f"got folds={self.folds}, repeats={self.repeats}; at least 2 folds and 1 repeat are needed"
            )
        for name in ("test_fraction", "validation_fraction"):
            if not 0 < getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must lie between 0 and 1, both excluded")

    @property
    def control(self) -> SplitConfig:
        """The split with the same training and validation parts that tests on the same attribute values."""
        return replace(self, shift=replace(self.shift, test=self.shift.train)) if self.shift else self

    @property
    def by_folds(self) -> bool:
        """Whether every group is in the test part of exactly one fold per repeat."""
        return self.protocol in ("kfold", SHIFT)


def make_splits(index: DatasetIndex, config: SplitConfig) -> list[Split]:
    """Return the folds of all repeats. The same images and config give the same folds for any listing order.

    Every part of every fold has images of every class; otherwise ``DataError`` says how many groups are needed.
    """
    if config.protocol == PUBLISHED:
        return _published(index, config)
    names, counts = group_counts(index)
    _check_enough(index, config, counts)
    if config.shift:
        counts = shift_counts(index, config.shift, names)
        check_shift_enough(index, config.shift, config.folds)
    splits = []
    for repeat in range(config.repeats):
        drawn_as = "kfold" if config.shift else config.protocol
        rng = np.random.default_rng(derive_seed("split", config.seed, drawn_as, repeat))
        if config.by_folds:
            shares = np.full(config.folds, 1 / config.folds)
            least = (
                2 if config.folds == 2 else 1,
            ) * config.folds  # the images that are not tested are divided into two parts
            tested = partition(counts, shares, rng, min_groups=least)
            tests = [tested == fold for fold in range(config.folds)]
        else:
            shares = np.array([1 - config.test_fraction, config.test_fraction])
            draw = partition(counts, shares, rng, min_groups=(2, 1), tolerance=HOLDOUT_TOLERANCE)
            tests = [draw == 1]
        for fold, test in enumerate(tests):
            part = np.where(test, 2, 0)
            rest = np.flatnonzero(~test)
            shares = np.array([1 - config.validation_fraction, config.validation_fraction])
            kept = counts[rest][:, counts[rest].any(axis=0)]
            part[rest] = partition(kept, shares, rng, min_groups=(1, 1))
            part_of = dict(zip(names, (PARTS[p] for p in part), strict=True))
            parts: dict[str, str] = {r.path: part_of[r.group_id] for r in index.records}
            if config.shift:
                parts = shifted(index, config.shift, parts)
            splits.append(_as_split(index, config, parts, fold, repeat))
    return splits


def _published(index: DatasetIndex, config: SplitConfig) -> list[Split]:
    wanted: dict[PartName, int] = {part: getattr(config, f"{part}_per_class") for part in PARTS}
    rest, held_out = 1 - config.test_fraction, config.validation_fraction
    fractions: dict[PartName, float] = {
        "train": rest * (1 - held_out),
        "validation": rest * held_out,
        "test": config.test_fraction,
    }
    splits = []
    for repeat in range(config.repeats):
        for fold, unit in enumerate(UNITS):
            rng = np.random.default_rng(derive_seed("split", config.seed, config.protocol, repeat, unit))
            if unit == "image":
                part_of = draw_images(index, wanted, rng)
            else:
                part_of = draw_groups(index, *group_counts(index), fractions, wanted, rng)
            splits.append(_as_split(index, config, part_of, fold, repeat, unit))
    return splits


def group_counts(index: DatasetIndex) -> tuple[list[str], Counts]:
    """Return the group names, sorted, and their images per class, int64 [groups, classes]."""
    names = sorted({r.group_id for r in index.records})
    row = {name: i for i, name in enumerate(names)}
    counts = np.zeros((len(names), len(index.classes)), dtype=np.int64)
    for record in index.records:
        counts[row[record.group_id], record.label] += 1
    return names, counts


def check_split(split: Split, index: DatasetIndex) -> FoldParts:
    """Return the source images of the split's parts; ``LeakageError`` when they share a group, an image or its content.

    ``LeakageError`` also for a split that was drawn from other images or groups, because its parts need not be disjoint
    here. A split that does not cover the index is a ``DataError``. Called on every use of a split, because splits are
    read from files.
    """
    check_drawn_from(split, index)
    if split.protocol != PUBLISHED and (split.unit != "group" or (split.unused and split.protocol != SHIFT)):
        raise LeakageError(
            f"fold {split.fold}: its unit is {split.unit!r} and {len(split.unused)} images are unused, but the "
            f"protocol {split.protocol} keeps patients apart and uses every image; delete the split and run again"
        )
    index = by_unit(index, split.unit)
    record = index.by_path()
    where: dict[str, str] = {}
    for part in (*PARTS, UNUSED):
        for path in getattr(split, part):
            if path not in record:
                raise DataError(f"fold {split.fold}: {part} names {path}, which {index.name} does not have")
            if path in where:
                raise LeakageError(f"fold {split.fold}: {path} is in {where[path]} and again in {part}")
            where[path] = part
    missing = sorted(set(record) - set(where))
    if missing:
        raise DataError(f"fold {split.fold}: {len(missing)} images are in no part, such as {missing[0]}")
    parts = {part: SourceImages.of(record[path] for path in getattr(split, part)) for part in PARTS}
    shared = " (image by image, patients shared)" if split.unit == "image" else ""
    fold_parts = FoldParts(f"fold {split.fold}" + (f".{split.repeat}" if split.repeat else "") + shared, parts)
    fold_parts.require_disjoint()
    return fold_parts


def check_drawn_from(split: Split, index: DatasetIndex) -> None:
    """Raise ``LeakageError`` when the split was drawn from other images, labels or groups than those of the index."""
    if split.fingerprint != fingerprint(index):
        raise LeakageError(
            f"the split of fold {split.fold} was drawn from other images (fingerprint {split.fingerprint}) than those "
            f"of {index.name} at {index.root} ({fingerprint(index)}), so its parts need not be disjoint here; draw it "
            "again, or name the folder it came from"
        )


def save_split(split: Split, index: DatasetIndex, path: Path) -> None:
    """Write a split as JSON: for every part its groups, and their images. Raises as ``check_split``."""
    check_split(split, index)
    group_of = {r.path: r.group_id for r in index.records}
    parts: dict[str, dict[str, list[str]]] = {}
    for name in (*PARTS, UNUSED) if split.unused else PARTS:
        groups = parts.setdefault(name, {})
        for image in getattr(split, name):
            groups.setdefault(group_of[image], []).append(image)
    head = {k: getattr(split, k) for k in ("fold", "repeat", "protocol", "seed", "fingerprint", "unit")}
    write_atomic(path, json.dumps({**head, "parts": parts}, indent=1, ensure_ascii=False, sort_keys=True) + "\n")


def load_split(path: Path) -> Split:
    """Read what ``save_split`` wrote; the caller checks it against its index. Raises ``DataError``."""
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        groups = {UNUSED: {}, **stored["parts"]}  # older files, from before images could be unused, have no such part
        parts = {p: tuple(sorted(i for images in groups[p].values() for i in images)) for p in (*PARTS, UNUSED)}
        return Split(
            fold=int(stored["fold"]),
            repeat=int(stored["repeat"]),
            protocol=str(stored["protocol"]),
            seed=int(stored["seed"]),
            fingerprint=str(stored["fingerprint"]),
            unit=_unit(stored.get("unit", "group")),
            **parts,
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as e:
        raise DataError(f"{path} is not a saved split ({type(e).__name__}: {e}); delete it and run again") from e


def _unit(name: object) -> Unit:
    if name not in UNITS:
        raise ValueError(f"unit is {name!r}, expected one of {', '.join(UNITS)}")
    return name


def split_table(index: DatasetIndex, splits: list[Split]) -> list[dict[str, int | str]]:
    """Return a row per split and part: fold, repeat, part, groups, and images of each class."""
    record = index.by_path()
    rows: list[dict[str, int | str]] = []
    for split in splits:
        for part in PARTS:
            chosen = [record[p] for p in getattr(split, part)]
            images = Counter(index.classes[r.label] for r in chosen)
            groups = len({r.group_id for r in chosen})
            head: dict[str, int | str] = {"repeat": split.repeat, "fold": split.fold, "part": part, "groups": groups}
            rows.append(head | {c: images[c] for c in index.classes})
    return rows


def _as_split(
    index: DatasetIndex, config: SplitConfig, part_of: Mapping[str, str], fold: int, repeat: int, unit: Unit = "group"
) -> Split:
    """Make and check a split from the part of each image by path; images without a part are unused."""
    paths: dict[str, list[str]] = {p: [] for p in (*PARTS, UNUSED)}
    for record in index.records:
        paths[part_of.get(record.path, UNUSED)].append(record.path)
    parts = {p: tuple(sorted(images)) for p, images in paths.items()}
    split = Split(fold, repeat, config.protocol, config.seed, fingerprint(index), unit=unit, **parts)
    label = {r.path: r.label for r in index.records}
    for name in PARTS:
        lacking = [c for i, c in enumerate(index.classes) if not any(label[p] == i for p in parts[name])]
        if lacking:
            raise DataError(f"fold {fold}: no division of whole groups gives {name} images of {', '.join(lacking)}")
    check_split(split, index)
    return split


def _check_enough(index: DatasetIndex, config: SplitConfig, counts: Counts) -> None:
    needed = 3 if config.protocol == "holdout" else max(config.folds, 4 if config.folds == 2 else 3)
    groups = (counts > 0).sum(axis=0)
    short = [f"{c} has {n}" for c, n in zip(index.classes, groups, strict=True) if n < needed]
    if short:
        what = f"{config.folds} folds" if config.by_folds else "a hold-out split"
        fewest = int(groups.min())  # 2 folds need 4 groups, more than 3 do
        fewer = f"take split.folds={fewest}, or " if config.by_folds and 3 <= fewest < config.folds else ""
        raise DataError(
            f"{losses(index)}{index.name}: {what} with train, validation and test of every class need at least "
            f"{needed} groups (patients) of each class; {'; '.join(short)}. What to do: {fewer}take more data, or "
            "leave out classes"
        )
