"""The settings that a data set can carry, for a first suite on a CPU: image size, split, steps."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.config import build
from bench.data.examine import MIN_SIDE_PX
from bench.data.given_split import GIVEN, PART
from bench.data.image_files import header_of
from bench.data.split_config import LEARNING_CURVE, SplitConfig
from bench.data.splits import group_counts, make_splits
from bench.errors import DataError
from bench.types import DatasetIndex

LARGEST_PX = 32  # image side that a CPU trains in minutes; methods need a multiple of 8
MEASURED = 200  # images whose size is read
SETS, SMALLEST_SET = 12, 20  # of a learning curve: training sets, and patients in the smaller ones
TESTED = 0.25  # share of the patients that a learning curve leaves for the test part
FOLDS, REPEATS = (5, 4, 3, 2), 2
TRAININGS = 5  # of a given split
LEAST = 3  # groups of a class, for training, validation and test
USERS_OWN = ("table", "image_folder")  # data sets whose parts the user has made; public ones have patients in several


@dataclass(frozen=True)
class Proposal:
    """Settings with their reasons: ``image_size_px``, ``split`` in the syntax of a suite, and whether it is a curve."""

    image_size_px: int
    size_reason: str
    split: dict[str, Any]
    split_reason: str

    @property
    def is_curve(self) -> bool:
        """Whether a learning curve is proposed."""
        return self.split["protocol"] == LEARNING_CURVE


def propose(index: DatasetIndex) -> Proposal:
    """Return the settings for a data set. Raises ``DataError`` or ``LeakageError`` if no split is possible."""
    size, size_reason = _image_size(index)
    return Proposal(size, size_reason, *propose_split(index))


def _image_size(index: DatasetIndex) -> tuple[int, str]:
    step = max(1, len(index.records) // MEASURED)
    headers = [header_of((index.root / r.path).read_bytes()) for r in index.records[::step]]
    width, height = median(h.width for h in headers), median(h.height for h in headers)
    size = min(LARGEST_PX, max(MIN_SIDE_PX, int(min(width, height)) // 8 * 8))
    return size, f"the images have {width:g} × {height:g} px (median); twice the size takes four times as long"


def propose_split(index: DatasetIndex) -> tuple[dict[str, Any], str]:
    """Return a split in the syntax of a suite, with its reason: the given parts, else a learning curve, else folds.

    Raises ``DataError`` or ``LeakageError`` if none is possible.
    """
    names, counts = group_counts(index)
    groups = ", ".join(f"{c} {n:,}" for c, n in zip(index.classes, (counts > 0).sum(axis=0), strict=True))
    what = f"{len(names):,} {index.group_name} ({groups})"
    parts = {dict(r.attributes).get(PART) for r in index.records}
    if index.name in USERS_OWN and parts != {None}:
        split: dict[str, Any] = {"protocol": GIVEN, "repeats": TRAININGS}
        make_splits(index, SplitConfig(protocol=GIVEN))
        return split, f"the parts that the data have; {TRAININGS} trainings with other seeds"
    size = int(len(names) * (1 - TESTED) / SETS / 2) // 10 * 10  # of the smaller sets; the larger ones have 2 * size
    if size >= SMALLEST_SET:
        split = {
            "protocol": LEARNING_CURVE, "train_patients": [size, 2 * size], "replicates": SETS,
            "validation_fraction": 0.25, "reference_only": [2 * size],
        }  # fmt: skip
        if _is_possible(index, split):
            reason = f"{what}: enough for {SETS} disjoint training sets; kfold is faster and says less"
            return split, reason
    for folds in FOLDS:
        split = {"protocol": "kfold", "folds": folds, "repeats": REPEATS, "validation_fraction": 0.25}
        if _is_possible(index, split):
            few = "; with so few, expect 'undecided'" if min((counts > 0).sum(axis=0)) < 10 else ""
            return split, f"{what}: every one is tested once in each of {REPEATS} divisions into folds{few}"
    raise DataError(
        f"{index.name}: no split is possible with {what}; at least {LEAST} of each class are needed"
        f"{_left(index, counts)}"
    )


def _left(index: DatasetIndex, counts: npt.NDArray[np.int64]) -> str:
    """Return how to leave out the classes with too few groups; '' if that would leave fewer than two."""
    enough = [c for c, n in zip(index.classes, (counts > 0).sum(axis=0), strict=True) if n >= LEAST]
    if not 2 <= len(enough) < len(index.classes):
        return ""
    return f". To use the other classes: --set 'dataset.classes=[{', '.join(enough)}]'"


def _is_possible(index: DatasetIndex, split: dict[str, Any]) -> bool:
    try:
        make_splits(index, build(SplitConfig, split, "split"))
    except DataError:
        return False
    return True
