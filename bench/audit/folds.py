"""Checks whether copies cross the parts of a suite's folds, and lists what each fold's generator may see.

After ``records.scan`` no copy should cross; the audit verifies this for each fold.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.audit.audit import Pair
from bench.data.splits import PARTS, check_split
from bench.types import DatasetIndex, Split


def audit_folds(
    index: DatasetIndex, splits: Sequence[Split], exact: Sequence[Pair], near: Sequence[Pair]
) -> list[dict[str, Any]]:
    """Return a row per fold, in plain data.

    ``fold, repeat, train_patients`` (None but in a learning curve); ``images`` and ``groups``, {part: n};
    ``exact_crossing`` and ``near_crossing``, [[path, part, path, part]]: copies among the images of the suite that are
    in two different parts; ``generator``: all that a generator of this fold may see, ``images``, ``groups`` (numbers)
    and ``group_ids``. Raises ``LeakageError`` when a group is in two parts.
    """
    group_of = {r.path: r.group_id for r in index.records}
    rows = []
    for split in splits:
        check_split(split, index)
        part_of: dict[str, str] = {path: part for part in PARTS for path in getattr(split, part)}
        groups = {part: {group_of[path] for path in getattr(split, part)} for part in PARTS}
        rows.append(
            {
                "fold": split.fold,
                "repeat": split.repeat,
                "train_patients": split.train_patients,
                "images": {part: len(getattr(split, part)) for part in PARTS},
                "groups": {part: len(groups[part]) for part in PARTS},
                "exact_crossing": _crossing(exact, part_of),
                "near_crossing": _crossing(near, part_of),
                "generator": {
                    "images": len(split.train),
                    "groups": len(groups["train"]),
                    "group_ids": sorted(groups["train"]),
                },
            }
        )
    return rows


def _crossing(pairs: Sequence[Pair], part_of: dict[str, str]) -> list[list[str]]:
    return [
        [a, part_of[a], b, part_of[b]] for a, b in pairs if a in part_of and b in part_of and part_of[a] != part_of[b]
    ]
