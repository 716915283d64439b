"""The cells of a run that other processes run, on this or another machine, in the same output folder."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Literal

from bench.engine.ready import CellId
from bench.plan.plan import Cell
from bench.stages import RunEnv
from bench.store.cell_folders import Artifacts

State = Literal["free", "busy", "done", "failed"]


class Elsewhere:
    """``cells`` are those that other processes run. Their folders say what has become of them."""

    def __init__(self, env: RunEnv) -> None:
        self.cells: dict[CellId, Cell] = {}
        self._out, self._artifacts = env.out, Artifacts(env.out)
        self._failed_before: dict[CellId, object] = {}  # failures of earlier runs, which are retried

    def note_failures(self, cell_ids: Collection[CellId]) -> None:
        """Note the failures that exist at the start of the run."""
        found = {cell_id: self._artifacts.failure(*cell_id) for cell_id in cell_ids}
        self._failed_before = {cell_id: failure[1] for cell_id, failure in found.items() if failure}

    def add(self, cell: Cell) -> None:
        """Leave a cell to another process."""
        self.cells[cell.id] = cell

    def forget(self, cell: Cell) -> None:
        """Do not observe a cell any more."""
        del self.cells[cell.id]

    def look(self) -> Iterator[tuple[Cell, State]]:
        """Yield each cell with its state."""
        for cell in list(self.cells.values()):
            yield cell, self.state(cell)

    def state(self, cell: Cell) -> State:
        """Return whether another process runs the cell, or has ended it since the start of the run."""
        if not self._artifacts.free(*cell.id):
            return "busy"
        if Artifacts(self._out).is_done(*cell.id):  # a new object: others keep what they have read
            return "done"
        return "failed" if self.failure(cell) else "free"

    def failure(self, cell: Cell) -> str | None:
        """Return the error of a failure since the start of the run, None without one."""
        found = self._artifacts.failure(*cell.id)
        return found[0] if found and found[1] != self._failed_before.get(cell.id) else None
