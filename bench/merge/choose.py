"""Selection of one of several results of a cell for a merged store. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from bench.merge.sources import Result, Source
from bench.types import ResultRow

Policy = Literal["refuse", "first", "last", "newest"]
RANK = {"done": 0, "failed": 1, "skipped": 2}  # order of preference of rows


@dataclass(frozen=True)
class Choice:
    """One key: the index of the selected source, and the state of the key in the other sources.

    ``same``: sources with the same result; ``different``: with another result; ``lesser``: with a failure while another
    source has a result. ``folder`` is False if no source has a finished folder of the cell.
    """

    key: str
    source: int
    folder: bool
    same: tuple[int, ...] = ()
    different: tuple[int, ...] = ()
    lesser: tuple[int, ...] = ()


def choose(sources: Sequence[Source], policy: Policy, kept: bool) -> list[Choice]:
    """Return a choice for every key, in the order of first appearance.

    With ``kept`` the first source is the merged store itself: its finished cells are kept under every policy. 'refuse'
    selects like 'first'; the caller must refuse choices with ``different``.
    """
    keys = dict.fromkeys(key for s in sources for key in (*s.rows, *s.cells))
    return [_choice(key, sources, policy, kept) for key in keys]


def _choice(key: str, sources: Sequence[Source], policy: Policy, kept: bool) -> Choice:
    results = {i: r for i, s in enumerate(sources) if (r := s.result(key)) is not None}
    having = [i for i, s in enumerate(sources) if key in s.rows or key in s.cells]
    if not results:
        rows = {i: sources[i].rows[key] for i in having}
        best = _best_failure(rows)
        return Choice(key, best, folder=False, lesser=tuple(i for i in having if i != best))
    folders = [i for i in results if key in sources[i].cells]
    best = 0 if kept and 0 in folders else _by_policy({i: results[i] for i in folders or results}, policy)
    others = [i for i in results if i != best]
    same = tuple(i for i in others if results[i].equals(results[best]))
    return Choice(
        key,
        best,
        folder=bool(folders),
        same=same,
        different=tuple(i for i in others if i not in same),
        lesser=tuple(i for i in having if i not in results),
    )


def _by_policy(results: Mapping[int, Result], policy: Policy) -> int:
    """Return the index of the result that the policy keeps; the newest is the one that finished last."""
    if policy == "last":
        return max(results)
    if policy == "newest":
        return max(results, key=lambda i: (results[i].finished_at, -i))
    return min(results)


def _best_failure(rows: Mapping[int, ResultRow]) -> int:
    """Return the index of the most informative row: failed before skipped, late before early."""
    newest_first = sorted(rows, key=lambda i: rows[i].finished_at, reverse=True)
    return min(newest_first, key=lambda i: RANK.get(rows[i].status, len(RANK)))
