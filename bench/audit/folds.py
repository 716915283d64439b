"""Do copies cross the borders of a suite's folds, and what may each fold's generator see?

After the policy of ``records.scan`` none should; the audit says so fold by fold instead of trusting it.
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

    ``fold, repeat``; ``images`` and ``groups``, {part: n}; ``exact_crossing`` and ``near_crossing``, [[path, part,
    path, part]]: copies, among the images that the suite uses, of which two parts hold one each; ``generator``: all
    that a generator of this fold may see, ``images`` and ``groups`` (numbers) and ``group_ids``. Raises
    ``LeakageError`` when a group is in two parts.
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
