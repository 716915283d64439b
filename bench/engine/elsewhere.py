"""The cells of a run that other processes run, on this or another machine, in the same output folder."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Literal

from bench.engine.ready import CellId
from bench.forecast.cost_model import Prediction
from bench.plan.plan import Cell
from bench.stages import RunEnv
from bench.store.cell_folders import Artifacts

State = Literal["free", "busy", "done", "failed"]


class Limit:
    """Which free cells this process starts: all of its run. ``predict`` returns a cell's predicted costs, if known."""

    predict: Callable[[Cell], Prediction | None] = staticmethod(lambda cell: None)

    def takes(self, cell: Cell) -> bool:
        """Return whether to start a free cell now; others are left to other processes."""
        return True

    def leaves(self) -> bool:
        """Return whether to end, though cells are left to other processes. Asked only while no cell runs here."""
        return False


class Elsewhere:
    """``cells`` are those that other processes run. Their folders say what has become of them.

    Without ``retries``, a cell that failed before the start of the run is not run again.
    """

    def __init__(self, env: RunEnv) -> None:
        self.limit, self.retries = Limit(), True
        self.cells: dict[CellId, Cell] = {}
        self._out, self._artifacts = env.out, Artifacts(env.out)
        self._failed_before: dict[CellId, object] = {}  # failures of earlier runs, which are retried

    def note_failures(self, cell_ids: Collection[CellId]) -> None:
        """Note the failures that exist at the start of the run."""
        if not self.retries:
            return
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
        if self.failure(cell):
            return "failed"
        return "free" if self.limit.takes(cell) else "busy"

    def leaves(self, busy: bool) -> bool:
        """Return whether to leave the cells to the other processes; ``busy``: cells run here."""
        return not busy and bool(self.cells) and self.limit.leaves()

    def failure(self, cell: Cell) -> str | None:
        """Return the error of a failure since the start of the run, None without one."""
        found = self._artifacts.failure(*cell.id)
        return found[0] if found and found[1] != self._failed_before.get(cell.id) else None
