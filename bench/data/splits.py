"""Patient-disjoint splits: k-fold, repeated hold-out, learning curves; stratified by class.

A group (patient) is never divided. Repeated 70/30 by patient is the protocol of Spanhol et al., IEEE TBME 63(7), 2016.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from bench.data.given_split import GIVEN, given_parts, with_validation
from bench.data.learning_curve import draw_sets
from bench.data.left_out import losses
from bench.data.partition import Counts, partition
from bench.data.published_split import PUBLISHED, UNITS, by_unit, draw_groups, draw_images
from bench.data.records import fingerprint
from bench.data.shift_split import SHIFT, check_shift_enough, shift_counts, shifted
from bench.data.split_config import LEARNING_CURVE, SplitConfig
from bench.errors import DataError, LeakageError
from bench.files import write_atomic
from bench.leakage import PARTS, UNLABELLED, FoldParts, PartName, SourceImages
from bench.seeding import derive_seed
from bench.types import At, DatasetIndex, Split, Unit

UNUSED = "unused"
EVERY = (*PARTS, UNLABELLED, UNUSED)
WITH_UNUSED = (PUBLISHED, SHIFT, LEARNING_CURVE)  # protocols that may leave images in no part
HOLDOUT_TOLERANCE = 0.1  # exact shares would leave so few choices that every draw tested the same patients


def make_splits(index: DatasetIndex, config: SplitConfig, only: At | None = None) -> list[Split]:
    """Return the folds of all repeats. The same images and config give the same folds for any listing order.

    Every part of every fold has images of every class; otherwise ``DataError`` says how many groups are needed.
    ``only`` returns the fold with these coordinates alone.
    """
    if only is not None and config.protocol != LEARNING_CURVE:
        return [s for s in make_splits(index, config) if s.at == only]
    if config.protocol == LEARNING_CURVE:
        return _learning_curve(index, config, only)
    if config.protocol == PUBLISHED:
        return _published(index, config)
    if config.protocol == GIVEN:
        return _given(index, config)
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


def _given(index: DatasetIndex, config: SplitConfig) -> list[Split]:
    parts, (names, counts) = given_parts(index), group_counts(index)
    splits = []
    for repeat in range(config.repeats):
        seed = derive_seed("split", config.seed, GIVEN, repeat)
        part_of = with_validation(parts, index, counts, names, config.validation_fraction, seed)
        splits.append(_as_split(index, config, part_of, 0, repeat))
    return splits


def _learning_curve(index: DatasetIndex, config: SplitConfig, only: At | None) -> list[Split]:
    splits = []
    for drawn in draw_sets(index, config, *group_counts(index)):
        if only in (None, (drawn.fold, 0, drawn.train_patients)):
            part_of = {r.path: p for r in index.records if (p := drawn.part_of.get(r.group_id))}
            splits.append(_as_split(index, config, part_of, drawn.fold, 0, train_patients=drawn.train_patients))
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
    if split.unlabelled and split.protocol != LEARNING_CURVE:
        raise LeakageError(
            f"{_name(split)}: {len(split.unlabelled)} images are unlabelled, which only the protocol {LEARNING_CURVE} "
            "has; delete the split and run again"
        )
    if split.protocol != PUBLISHED and (split.unit != "group" or (split.unused and split.protocol not in WITH_UNUSED)):
        raise LeakageError(
            f"{_name(split)}: its unit is {split.unit!r} and {len(split.unused)} images are unused, but the "
            f"protocol {split.protocol} keeps patients apart and uses every image; delete the split and run again"
        )
    index = by_unit(index, split.unit)
    record = index.by_path()
    where: dict[str, str] = {}
    for part in EVERY:
        for path in getattr(split, part):
            if path not in record:
                raise DataError(f"{_name(split)}: {part} names {path}, which {index.name} does not have")
            if path in where:
                raise LeakageError(f"{_name(split)}: {path} is in {where[path]} and again in {part}")
            where[path] = part
    missing = sorted(set(record) - set(where))
    if missing:
        raise DataError(f"{_name(split)}: {len(missing)} images are in no part, such as {missing[0]}")
    kept = (*PARTS, UNLABELLED) if split.unlabelled else PARTS
    parts = {part: SourceImages.of(record[path] for path in getattr(split, part)) for part in kept}
    shared = " (image by image, patients shared)" if split.unit == "image" else ""
    fold_parts = FoldParts(_name(split) + shared, parts)
    fold_parts.require_disjoint()
    return fold_parts


def _name(split: Split) -> str:
    if split.train_patients is not None:
        return f"set {split.fold} of {split.train_patients} patients"
    return f"fold {split.fold}" + (f".{split.repeat}" if split.repeat else "")


def check_drawn_from(split: Split, index: DatasetIndex) -> None:
    """Raise ``LeakageError`` when the split was drawn from other images, labels or groups than those of the index."""
    if split.fingerprint != fingerprint(index):
        raise LeakageError(
            f"the split of {_name(split)} was drawn from other images (fingerprint {split.fingerprint}) than those "
            f"of {index.name} at {index.root} ({fingerprint(index)}), so its parts need not be disjoint here; draw it "
            "again, or name the folder it came from"
        )


def save_split(split: Split, index: DatasetIndex, path: Path) -> None:
    """Write a split as JSON: for every part its groups, and their images. Raises as ``check_split``."""
    check_split(split, index)
    group_of = {r.path: r.group_id for r in index.records}
    parts: dict[str, dict[str, list[str]]] = {}
    for name in (p for p in EVERY if p in PARTS or getattr(split, p)):
        groups = parts.setdefault(name, {})
        for image in getattr(split, name):
            groups.setdefault(group_of[image], []).append(image)
    head = {k: getattr(split, k) for k in ("fold", "repeat", "protocol", "seed", "fingerprint", "unit")}
    if split.train_patients is not None:
        head["train_patients"] = split.train_patients
    write_atomic(path, json.dumps({**head, "parts": parts}, indent=1, ensure_ascii=False, sort_keys=True) + "\n")


def load_split(path: Path) -> Split:
    """Read what ``save_split`` wrote; the caller checks it against its index. Raises ``DataError``."""
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        groups = {UNLABELLED: {}, UNUSED: {}, **stored["parts"]}  # parts that may be empty are then not written
        parts = {p: tuple(sorted(i for images in groups[p].values() for i in images)) for p in EVERY}
        return Split(
            fold=int(stored["fold"]),
            repeat=int(stored["repeat"]),
            protocol=str(stored["protocol"]),
            seed=int(stored["seed"]),
            fingerprint=str(stored["fingerprint"]),
            unit=_unit(stored.get("unit", "group")),
            train_patients=stored.get("train_patients"),
            **parts,
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as e:
        raise DataError(f"{path} is not a saved split ({type(e).__name__}: {e}); delete it and run again") from e


def _unit(name: object) -> Unit:
    if name not in UNITS:
        raise ValueError(f"unit is {name!r}, expected one of {', '.join(UNITS)}")
    return name


def _as_split(
    index: DatasetIndex, config: SplitConfig, part_of: Mapping[str, str], fold: int, repeat: int, unit: Unit = "group",
    train_patients: int | None = None,
) -> Split:  # fmt: skip
    """Make and check a split from the part of each image by path; images without a part are unused."""
    paths: dict[str, list[str]] = {p: [] for p in EVERY}
    for record in index.records:
        paths[part_of.get(record.path, UNUSED)].append(record.path)
    parts = {p: tuple(sorted(images)) for p, images in paths.items()}
    split = Split(
        fold,
        repeat,
        config.protocol,
        config.seed,
        fingerprint(index),
        unit=unit,
        train_patients=train_patients,
        **parts,
    )
    label = {r.path: r.label for r in index.records}
    for name in PARTS:
        lacking = [c for i, c in enumerate(index.classes) if not any(label[p] == i for p in parts[name])]
        if lacking:
            raise DataError(f"{_name(split)}: no division of whole groups gives {name} images of {', '.join(lacking)}")
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
