"""Rows of a plan's cells as they are now, from their folders and the store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from bench.engine.cell_run import blank_row, finished_row
from bench.engine.ready import CellId
from bench.plan.plan import Cell, Plan
from bench.stages import RunEnv
from bench.store.cell_folders import Artifacts
from bench.store.results import Store
from bench.types import ResultRow


def rows_of(plan: Plan, env: RunEnv, stored: Mapping[str, ResultRow] | None = None) -> list[ResultRow]:
    """Return one row for every cell of the plan, with the plan's names: from its folder, the store, or 'missing'.

    The folder decides whether a cell is done; a failure counts until the cell is done. A damaged cell is 'failed', with
    the file and the remedy as its error, and finished cells that were made from it are 'skipped': their numbers are not
    used until ``bench run`` has run the cell again. The same applies to a score whose table of predictions is missing.
    ``stored`` are the store's rows; None: they are read.
    """
    known = Store(env.out).rows() if stored is None else stored
    artifacts = Artifacts(env.out)
    titles = {c.id: c.title for c in plan.cells}
    withheld: dict[CellId, str] = {}  # finished cells whose numbers are not used, and the reason
    rows = []
    for cell in plan.cells:
        row = known.get(cell.row_key)
        done = artifacts.is_done(*cell.id)
        unread = [up for up in cell.upstream if cell.stage == "evaluate" and not artifacts.is_done(*up)]
        needs = next((up for up in (*cell.upstream, *unread) if done and (up in withheld or up in unread)), None)
        if damage := artifacts.damage(*cell.id):
            withheld[cell.id] = f"{damage}; `bench run` runs the cell again"
            row = _blank(cell, env, "failed", withheld[cell.id])
        elif needs:
            withheld[cell.id] = withheld.get(needs, "its folder is missing; `bench run` runs the cell again")
            row = _blank(cell, env, "skipped", f"needs {titles[needs]}: {withheld[cell.id]}")
        elif done:
            row = _finished(cell, env, artifacts, row)
        elif row is None or row.status == "done":
            row = _blank(cell, env, "missing")
        row = replace(row, suite=env.suite.name, dataset=env.suite.dataset.name)
        rows.append(replace(row, method=cell.method, classifier=cell.classifier))
    return rows


def damaged_cells(plan: Plan, env: RunEnv) -> dict[str, str]:
    """Return the plan's finished cells with changed files, by title: the file, its state and the expected state."""
    artifacts = Artifacts(env.out)
    return {c.title: damage for c in plan.work if (damage := artifacts.damage(*c.id))}


def _blank(cell: Cell, env: RunEnv, status: str, error: str | None = None) -> ResultRow:
    return replace(blank_row(cell, env, status, error), finished_at="")


def _finished(cell: Cell, env: RunEnv, artifacts: Artifacts, known: ResultRow | None) -> ResultRow:
    """Return the row of a finished cell, with its predicted costs if the store has them."""
    row = finished_row(cell, env, artifacts)
    predicted = {k: v for k, v in known.costs.items() if k.startswith("predicted_")} if known else {}
    return replace(row, costs={**row.costs, **predicted})
