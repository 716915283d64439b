"""The split protocol 'given': parts that the user has, from a column of a table or from folders train, val and test."""

from __future__ import annotations

from collections import defaultdict
from typing import Final

import numpy as np

from bench.data.left_out import losses
from bench.data.partition import Counts, partition
from bench.errors import DataError, LeakageError
from bench.leakage import PARTS, PartName
from bench.types import DatasetIndex

GIVEN: Final = "given"
PART = "part"  # the attribute of a record that holds its part
NAMES: dict[str, PartName] = {
    "train": "train", "training": "train",
    "val": "validation", "valid": "validation", "validation": "validation", "dev": "validation",
    "test": "test", "testing": "test",
}  # fmt: skip


def part_named(text: str) -> PartName | None:
    """Return the part that a folder or a cell names, in any case: 'Val' is validation; None if it names none."""
    return NAMES.get(text.strip().lower())


def given_parts(index: DatasetIndex) -> dict[str, PartName]:
    """Return the given part of each image by its path.

    Raises ``DataError`` if an image has none, or if train or test is empty, and ``LeakageError``, which lists all of
    them, if groups (patients) have images in several parts.
    """
    parts = {r.path: part_named(dict(r.attributes).get(PART, "")) for r in index.records}
    found = {path: part for path, part in parts.items() if part}
    lacking = sorted(parts.keys() - found.keys())
    if lacking or not {"train", "test"} <= set(found.values()):
        have = f"{len(lacking):,} of {len(parts):,} images have no part" if lacking else "train or test has no images"
        raise DataError(
            f"{losses(index)}{index.name}: split.protocol is {GIVEN!r}, but {have}; expected a column of a table "
            "(dataset: {name: table, split: COLUMN}) with train, val and test, or folders train, val and test with "
            "the folders of the classes; val may be absent"
        )
    _check_disjoint(index, found)
    return found


def _check_disjoint(index: DatasetIndex, parts: dict[str, PartName]) -> None:
    images: defaultdict[str, defaultdict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for record in index.records:
        images[record.group_id][parts[record.path]].append(record.path)
    crossing = {group: of for group, of in sorted(images.items()) if len(of) > 1}
    if crossing:
        lines = "\n".join(
            f"  {group}: "
            + ", ".join(f"{part} {len(of[part])} (such as {min(of[part])})" for part in PARTS if part in of)
            for group, of in crossing.items()
        )
        raise LeakageError(
            f"{index.name}: {len(crossing):,} of {len(images):,} groups (patients) have images in several parts of the "
            f"given split:\n{lines}\ncorrect the split, or let the harness draw one: split.protocol=kfold"
        )


def with_validation(
    parts: dict[str, PartName], index: DatasetIndex, counts: Counts, names: list[str], fraction: float, seed: int
) -> dict[str, str]:
    """Return the parts with a validation part: the given one, or whole groups drawn from the training part.

    ``counts`` and ``names`` are ``group_counts(index)``; ``fraction`` is of the training images.
    """
    if "validation" in parts.values():
        return dict(parts)
    trains = {r.group_id for r in index.records if parts[r.path] == "train"}
    rows = np.array([i for i, name in enumerate(names) if name in trains])
    kept = counts[rows][:, counts[rows].any(axis=0)]
    drawn = partition(kept, np.array([1 - fraction, fraction]), np.random.default_rng(seed), min_groups=(1, 1))
    validates = {names[row] for row, part in zip(rows, drawn, strict=True) if part}
    return {r.path: "validation" if r.group_id in validates else parts[r.path] for r in index.records}
