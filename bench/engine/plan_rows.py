"""Rows of a plan's cells as they are now, from their folders and the store."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import NamedTuple

from bench.engine.cell_run import blank_row, finished_row
from bench.engine.ready import CellId
from bench.plan.plan import Cell, Plan
from bench.stages import RunEnv
from bench.store.cell_folders import Artifacts
from bench.store.results import Store
from bench.types import ResultRow


def rows_of(plan: Plan, env: RunEnv, stored: Mapping[str, ResultRow] | None = None) -> list[ResultRow]:
    """Return one row for every cell of the plan, with the plan's names: from its folder, the store, or 'missing'.

    ``stored`` are the store's rows; None: they are read. See ``states_of``.
    """
    known = Store(env.out).rows() if stored is None else stored
    artifacts, rows = Artifacts(env.out), []
    for cell, state in states_of(plan.cells, artifacts, known):
        row = known.get(cell.row_key)
        if state.status == "done":
            row = _finished(cell, env, artifacts, row)
        elif row is None or not state.stored:
            row = replace(blank_row(cell, env, state.status, state.error), finished_at="")
        else:
            row = replace(row, suite=env.suite.name, dataset=env.suite.dataset.name)
            row = replace(row, method=cell.method, classifier=cell.classifier)
        rows.append(row)
    return rows


class State(NamedTuple):
    """A cell's status and error; ``stored``: those of its row in the store."""

    status: str
    error: str | None = None
    stored: bool = False


@contextmanager
def without_collector() -> Iterator[None]:
    """Switch off the garbage collector in a block that makes many objects: it would look at all of them repeatedly."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def states_of(
    cells: Sequence[Cell], artifacts: Artifacts, stored: Mapping[str, ResultRow]
) -> Iterator[tuple[Cell, State]]:
    """Yield each cell, upstream before downstream, and its state.

    The folder decides whether a cell is done; a failure counts until the cell is done. A damaged cell is 'failed', with
    the file and the remedy as its error, and finished cells that were made from it are 'skipped': their numbers are not
    used until ``bench run`` has run the cell again. The same applies to a score whose table of predictions is missing.
    """
    by_id = {c.id: c for c in cells}
    withheld: dict[CellId, str] = {}  # finished cells whose numbers are not used, and the reason
    for cell in cells:
        if damage := artifacts.damage(*cell.id):
            withheld[cell.id] = f"{damage}; `bench run` runs the cell again"
            yield cell, State("failed", withheld[cell.id])
        elif artifacts.is_verified(*cell.id):
            unread = [up for up in cell.upstream if cell.stage == "evaluate" and not artifacts.is_done(*up)]
            needs = next((up for up in cell.upstream if up in withheld or up in unread), None)
            if needs:
                withheld[cell.id] = withheld.get(needs, "its folder is missing; `bench run` runs the cell again")
                yield cell, State("skipped", f"needs {by_id[needs].title}: {withheld[cell.id]}")
            else:
                yield cell, State("done")
        else:
            row = stored.get(cell.row_key)
            yield cell, State(row.status, row.error, True) if row and row.status != "done" else State("missing")


def damaged_cells(plan: Plan, artifacts: Artifacts) -> dict[str, str]:
    """Return the plan's finished cells with changed files, by title: the file, its state and the expected state."""
    return {c.title: damage for c in plan.work if (damage := artifacts.damage(*c.id))}


def _finished(cell: Cell, env: RunEnv, artifacts: Artifacts, known: ResultRow | None) -> ResultRow:
    """Return the row of a finished cell, with its predicted costs if the store has them."""
    row = finished_row(cell, env, artifacts)
    predicted = {k: v for k, v in known.costs.items() if k.startswith("predicted_")} if known else {}
    return replace(row, costs={**row.costs, **predicted})
