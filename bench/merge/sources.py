"""The sources of a merge: the rows and finished cells of a store."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.errors import StoreError
from bench.store.cell_folders import Artifacts
from bench.store.results import Store
from bench.types import ResultRow


@dataclass(frozen=True)
class Result:
    """The metrics of a finished cell, and its time. NaN for an undefined metric."""

    metrics: Mapping[str, float]
    finished_at: str

    def equals(self, other: Result) -> bool:
        """Whether both have the same metrics. Times and costs are ignored, because they always differ."""
        a, b = self.metrics, other.metrics
        return a.keys() == b.keys() and all(a[k] == b[k] or (math.isnan(a[k]) and math.isnan(b[k])) for k in a)


@dataclass(frozen=True)
class Source:
    """A store: ``rows`` by key, ``cells`` the finished ones by key, ``torn`` folders that are damaged."""

    path: Path
    rows: Mapping[str, ResultRow]
    cells: Mapping[str, Result]
    torn: tuple[str, ...]

    def result(self, key: str) -> Result | None:
        """Return a cell's result from its folder, or, if that is missing, from its row; None if it is not done."""
        row = self.rows.get(key)
        of_row = Result(row.metrics, row.finished_at) if row and row.status == "done" else None
        return self.cells.get(key) or of_row


def read_source(path: Path) -> Source:
    """Read a store, also during a run. Raises ``StoreError`` if it does not exist or has another schema."""
    if not (path / "results.jsonl").is_file() and not (path / "cells").is_dir():
        raise StoreError(f"{path}: not a store; expected the --out folder of a run, with results.jsonl and cells/")
    # Read rows before cells: a cell that ends meanwhile then has a folder without a row, as after a kill.
    rows = Store(path).rows(strict=True)
    artifacts = Artifacts(path)
    found: dict[str, Result] = {}
    torn = []
    for key in _finished(path):
        try:
            found[key] = _result(artifacts.result(*key.split("/")))
        except (StoreError, ValueError, TypeError, KeyError):
            torn.append(key)
    return Source(path, rows, found, tuple(torn))


def row_from_cell(row: ResultRow, out: Path) -> ResultRow:
    """Return a row of the same cell with the content of its finished folder in ``out``."""
    stage, _, key = row.key.partition("/")
    artifacts = Artifacts(out)
    done = artifacts.result(stage, key)
    folder = str(artifacts.folder(stage, key).relative_to(out))
    data: dict[str, Any] = {**row.__dict__, "status": "done", "error": None, "folder": folder}
    measured = {"metrics": _metrics(done), "costs": done["costs"], "facts": done["facts"]}
    return ResultRow(**{**data, **measured, "finished_at": done["finished_at"]})


def _finished(path: Path) -> Iterator[str]:
    """Yield the key of every finished cell folder; running cells are left out."""
    for stage in sorted((path / "cells").glob("*")):
        for folder in sorted(stage.iterdir()) if stage.is_dir() else ():
            if folder.is_dir() and "." not in folder.name and (folder / "done.json").exists():
                yield f"{stage.name}/{folder.name}"


def _result(done: Mapping[str, Any]) -> Result:
    return Result(_metrics(done), str(done["finished_at"]))


def _metrics(done: Mapping[str, Any]) -> dict[str, float]:
    return {k: math.nan if v is None else float(v) for k, v in done["metrics"].items()}
