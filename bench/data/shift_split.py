"""Distribution shift within one data set: train and test on different values of an attribute, with disjoint patients.

Examples: ``magnification`` of BreakHis, ``laboratory`` of the phantom. Folds are drawn by patient as usual; then each
part keeps the images with its values, and the others are unused. Which patients are tested together depends on the
attribute alone, not on the values, so that suites with other values of one attribute train and test on the same
patients.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from bench.data.left_out import losses
from bench.data.partition import Counts
from bench.errors import ConfigError, DataError, nearest
from bench.types import DatasetIndex, ImageRecord

SHIFT = "shift"
Values = tuple[str | int, ...]


@dataclass(frozen=True)
class ShiftConfig:
    """Training and validation images have one of the ``train`` values of ``attribute``, test images one of ``test``.

    The same values in both define the control: no shift, everything else equal.
    """

    attribute: str
    train: Values
    test: Values

    def __post_init__(self) -> None:
        for name in ("train", "test"):
            if not getattr(self, name):
                raise ConfigError(f"shift.{name} is empty; expected values of {self.attribute}, such as [40, 100]")

    def keeps(self, record: ImageRecord, part: str) -> bool:
        """Return whether a part may contain the image."""
        wanted = self.test if part == "test" else self.train
        return dict(record.attributes).get(self.attribute) in {str(v) for v in wanted}

    @property
    def words(self) -> str:
        """Return a description, such as 'trained on magnification 40, 100, tested on 400'."""
        train, test = (", ".join(map(str, values)) for values in (self.train, self.test))
        return f"trained on {self.attribute} {train}, tested on {test}"


def shift_counts(index: DatasetIndex, shift: ShiftConfig, names: list[str]) -> Counts:
    """Return the images of each group by class and value of the attribute, int64 [groups, classes × values present].

    Raises ``DataError`` for an attribute or a value that no image has.
    """
    value_of = {r.path: dict(r.attributes).get(shift.attribute) for r in index.records}
    present = sorted({v for v in value_of.values() if v is not None})
    if not present:
        known = sorted({name for r in index.records for name, _ in r.attributes})
        what = nearest(shift.attribute, known) if known else "its images have none"
        raise DataError(f"{index.name}: no image has the attribute {shift.attribute!r}; {what}")
    for value in map(str, (*shift.train, *shift.test)):
        if value not in present:
            raise DataError(f"{index.name}: no image has {shift.attribute} {value}; present: {', '.join(present)}")
    row = {name: i for i, name in enumerate(names)}
    counts = np.zeros((len(names), len(index.classes), len(present)), dtype=np.int64)
    for r in index.records:
        present_value = value_of[r.path]
        if present_value is not None:
            counts[row[r.group_id], r.label, present.index(present_value)] += 1
    flat = counts.reshape(len(names), -1)
    return flat[:, flat.any(axis=0)]


def shifted(index: DatasetIndex, shift: ShiftConfig, part_of: Mapping[str, str]) -> dict[str, str]:
    """Return the part of each image by its path, without images that the part may not contain."""
    return {r.path: part_of[r.path] for r in index.records if shift.keeps(r, part_of[r.path])}


def check_shift_enough(index: DatasetIndex, shift: ShiftConfig, folds: int) -> None:
    """Raise ``DataError`` when a class has too few groups (patients) with the values for training or testing."""
    for part, needed in (("train", max(3, folds)), ("test", folds)):
        groups_of = {c: {r.group_id for r in index.records if r.label == i and shift.keeps(r, part)}
                for i, c in enumerate(index.classes)}  # fmt: skip
        short = [f"{c} has {len(groups)}" for c, groups in groups_of.items() if len(groups) < needed]
        if short:
            values = ", ".join(map(str, shift.test if part == "test" else shift.train))
            fewest = min(len(groups) for groups in groups_of.values())
            fewer = f"split.folds={fewest}, " if 3 <= fewest < folds else ""
            raise DataError(
                f"{losses(index)}{index.name}: {folds} folds need at least {needed} groups (patients) of each class "
                f"with {shift.attribute} {values}; {'; '.join(short)}. Take {fewer}other values, or more data"
            )
