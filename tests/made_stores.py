"""Stores without training: the cells of a plan with made-up results."""

from __future__ import annotations

import json
import shutil
import zlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from bench.engine.cell_run import finished_row
from bench.engine.session import Session
from bench.plan.plan import Cell
from bench.store.cell_folders import Artifacts
from bench.store.results import Store

VERSIONS = {"python": "3.11.7", "torch": "2.15.0"}
AT = "2026-01-01T00:00:00+00:00"


def made_score(cell: Cell) -> dict[str, float]:
    """Return scores that depend on the cell alone; none for stages that measure none."""
    if cell.stage != "evaluate":
        return {}
    value = zlib.crc32(cell.key.encode()) % 1000 / 1000
    of_patients = {"test/patient_auroc": value, "test/patient_balanced_accuracy": value}
    return {**of_patients, "test/balanced_accuracy": value / 2, "test/auroc": float("nan")}


def finish(
    session: Session,
    cells: Iterable[Cell] | None = None,
    host: str = "machine 1",
    metrics: Callable[[Cell], Mapping[str, float]] = made_score,
    at: str = AT,
    commit: str = "abc1234",
    rows: bool = True,
) -> Path:
    """Finish cells (None: all) of a session, each with a file, and return the store's folder."""
    artifacts, store = Artifacts(session.env.out), Store(session.env.out)
    for cell in session.plan.work if cells is None else cells:
        with artifacts.work(*cell.id) as folder:
            (folder / "sub").mkdir()
            (folder / "sub" / "network.bin").write_bytes(cell.key.encode() * 100)
            found = {k: None if v != v else v for k, v in metrics(cell).items()}
            facts = {"host": host, "git_commit": commit, "versions": VERSIONS}
            costs = {"elapsed_s": 2.0, "device_s": 1.5}
            done = {"metrics": found, "costs": costs, "facts": facts, "finished_at": at}
            artifacts.commit(*cell.id, json.loads(json.dumps(done)))
        if rows:
            store.append([finished_row(cell, session.env)])
    return session.env.out


def commit_again(out: Path, cell: Cell, change: Callable[[Path, dict[str, Any]], None]) -> None:
    """Finish a cell once more, with its files (in a folder) or its result changed as if the cell had made them so."""
    artifacts = Artifacts(out)
    result = {k: artifacts.result(*cell.id)[k] for k in ("metrics", "costs", "facts", "finished_at")}
    with artifacts.work(*cell.id) as partial:
        shutil.copytree(artifacts.folder(*cell.id), partial, dirs_exist_ok=True)
        change(partial, result)
        artifacts.commit(*cell.id, result, cell.upstream)
