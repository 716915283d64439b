"""The append-only store of results, ``<out>/results.jsonl``: one JSON object per line; the last one of a key is used.

The cell folders are authoritative; missing or damaged rows of this file are added again from them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, asdict, fields
from pathlib import Path
from typing import Any

from bench.errors import StoreError
from bench.store.lines import JsonLines
from bench.types import ResultRow

SCHEMA = 1
RESULTS = "results.jsonl"
_FIELDS = {f.name for f in fields(ResultRow)}
_NEEDED = [f.name for f in fields(ResultRow) if f.default is MISSING and f.default_factory is MISSING]
_OTHER_SCHEMA = "got schema "  # start of the reason
_REMEDY = "`bench run` adds these rows again from the cell folders"


class Store:
    """Reads and appends rows. Several processes may do both."""

    def __init__(self, out: Path) -> None:
        self.path = out / RESULTS
        self._lines = JsonLines(self.path, _decode)

    def append(self, rows: Iterable[ResultRow]) -> None:
        """Append rows and wait until they are on disk. An incomplete last line of a killed run is ended first."""
        self._lines.append(_encode(asdict(row)) for row in rows)

    def rows(self, strict: bool = False) -> dict[str, ResultRow]:
        """Return the last row of every key, in the order of first appearance.

        An unreadable line is skipped and reported once on standard error: its cell's folder has the result, and the
        next run adds it again. Raises ``StoreError`` if all rows have another schema; with ``strict``, if one has.
        """
        found, bad = self._lines.scan()
        other = [line for line in bad if line.reason.startswith(_OTHER_SCHEMA)]
        if other and (strict or not found):
            raise StoreError(
                f"{self.path}, line {other[0].number}: {other[0].reason}; "
                "the store was written by another version of bench: use that version, or another --out folder"
            )
        return {row.key: row for row in (self._lines.read(_REMEDY) if bad else found)}

    def heal(self) -> None:
        """Move unreadable lines to ``results.jsonl.damaged``."""
        self._lines.heal()


def _decode(data: Mapping[str, Any]) -> ResultRow:
    if data["schema"] != SCHEMA:
        raise ValueError(f"{_OTHER_SCHEMA}{data['schema']!r}, expected {SCHEMA}")
    for name in _NEEDED:
        if not isinstance(data[name], str):
            raise TypeError(f"with a {type(data[name]).__name__} as {name!r}")
    known = {k: v for k, v in data.items() if k in _FIELDS}
    for name in ("metrics", "costs"):
        known[name] = _numbers(dict(known.get(name, {})))
    known["facts"] = dict(known.get("facts", {}))
    return ResultRow(**known)


def _numbers(values: dict[str, Any]) -> dict[str, float]:
    if set(map(type, values.values())) <= {float}:  # nearly all rows; a store has millions of numbers
        return values
    return {k: math.nan if v is None else float(v) for k, v in values.items()}


def _encode(data: dict[str, Any]) -> dict[str, Any]:
    """Return the row as JSON values; undefined metrics become null, because JSON has no NaN."""
    for name in ("metrics", "costs"):
        data[name] = {k: None if not math.isfinite(v) else v for k, v in data[name].items()}
    return data
