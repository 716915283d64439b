"""The append-only store of results, ``<out>/results.jsonl``: one JSON object a line, the last one of a key counts."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from bench.errors import StoreError
from bench.files import append_lines
from bench.types import ResultRow

SCHEMA = 1
_FIELDS = {f.name for f in fields(ResultRow)}


class Store:
    """Reads and appends rows. One process writes; any number read while it does."""

    def __init__(self, out: Path) -> None:
        self.path = out / "results.jsonl"

    def append(self, rows: Iterable[ResultRow]) -> None:
        """Add rows at the end and wait until they are on disk. A torn last line of a killed run is closed first."""
        text = "".join(json.dumps(_encode(asdict(row)), sort_keys=True) + "\n" for row in rows)
        if text:
            append_lines(self.path, text)

    def rows(self) -> dict[str, ResultRow]:
        """Return the last row of every key, in the order of first appearance.

        A line that is not whole JSON (a run killed while writing) is passed over: its cell's folder holds the result,
        and the next run appends it again. Raises ``StoreError`` for rows of a newer schema.
        """
        found: dict[str, ResultRow] = {}
        if not self.path.is_file():
            return found
        with self.path.open(encoding="utf-8") as f:
            for number, line in enumerate(f, 1):
                try:
                    data = json.loads(line)
                except ValueError:
                    continue
                row = self._decode(data, number)
                found[row.key] = row
        return found

    def _decode(self, data: Any, number: int) -> ResultRow:
        schema = data.get("schema") if isinstance(data, dict) else None
        if schema != SCHEMA:
            raise StoreError(
                f"{self.path}, line {number}: got schema {schema!r}, expected {SCHEMA}; "
                "the store was written by another version: use that version, or another --out folder"
            )
        data = {k: v for k, v in data.items() if k in _FIELDS}
        for name in ("metrics", "costs"):
            data[name] = {k: math.nan if v is None else v for k, v in data.get(name, {}).items()}
        return ResultRow(**data)


def _encode(data: dict[str, Any]) -> dict[str, Any]:
    """JSON has no NaN: an undefined metric is stored as null."""
    for name in ("metrics", "costs"):
        data[name] = {k: None if not math.isfinite(v) else v for k, v in data[name].items()}
    return data
