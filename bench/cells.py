"""One cell from start to end: locked, seeded, measured, and finished whole or recorded as a failure."""

from __future__ import annotations

import traceback
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np

from bench.artifacts import Artifacts
from bench.context import CellContext
from bench.cost.host import describe_host, git_commit, versions
from bench.cost.timers import PeakMemory
from bench.errors import BenchError, DivergedError
from bench.plan import Cell
from bench.seeding import derive_seed, seed_everything
from bench.stages import STAGE, RunEnv
from bench.types import ResultRow

SEEDED_AS = {"validate": "classify"}  # the same training, without the test part


def blank_row(cell: Cell, env: RunEnv, status: str, error: str | None = None) -> ResultRow:
    """Return a row with the cell's coordinates and nothing measured."""
    return ResultRow(
        key=cell.row_key,
        stage=cell.stage,
        suite=env.suite.name,
        dataset=env.suite.dataset.name,
        status=status,
        method=cell.method,
        fold=cell.fold,
        repeat=cell.repeat,
        ratio=cell.ratio,
        classifier=cell.classifier,
        error=error,
        finished_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def finished_row(cell: Cell, env: RunEnv) -> ResultRow:
    """Return the row of a finished cell, read from its folder."""
    artifacts = Artifacts(env.out)
    done = artifacts.result(*cell.id)
    folder = str(artifacts.folder(*cell.id).relative_to(env.out))
    row = replace(blank_row(cell, env, "done"), folder=folder, finished_at=done["finished_at"])
    metrics = {name: float("nan") if value is None else value for name, value in done["metrics"].items()}
    return replace(row, metrics=metrics, costs=done["costs"], facts=done["facts"])


def run_cell(cell: Cell, env: RunEnv) -> ResultRow:
    """Do one cell, or find it done, and return its row. A failure is a row too, with its traceback."""
    artifacts = Artifacts(env.out)
    with artifacts.work(*cell.id) as folder:
        if artifacts.is_done(*cell.id):
            return finished_row(cell, env)
        seed = derive_seed(SEEDED_AS.get(cell.stage, cell.stage), env.suite.settings.seed, cell.fold, cell.repeat)
        ctx = CellContext(folder, env.device, seed, env.weights, env.out / "cache")
        memory = PeakMemory(env.device)
        try:
            with memory:
                if cell.stage not in ("split", "evaluate"):
                    seed_everything(seed)
                output = STAGE[cell.stage](cell, env, ctx)
            ctx.flush()
        except Exception as e:
            if isinstance(e, DivergedError):
                ctx.drop_checkpoint()
            text = f"{type(e).__name__}: {e}"
            if not isinstance(e, BenchError):
                text += "\n" + traceback.format_exc()
            artifacts.fail(*cell.id, text)
            return blank_row(cell, env, "failed", text)
        costs = {"elapsed_s": ctx.elapsed_s, **ctx.timer.costs(), **memory.costs(), **output.costs}
        made_by = {"git_commit": git_commit(), "host": describe_host(env.device), "versions": versions()}
        done = {
            "metrics": {k: float(v) if np.isfinite(v) else None for k, v in output.metrics.items()},
            "costs": {k: float(v) for k, v in costs.items()},
            "facts": {**output.facts, **made_by},
            "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        artifacts.commit(*cell.id, done)
        return finished_row(cell, env)
