"""Which cells of a run can start, and which cannot any more. Total time is linear in the number of cells."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Collection, Sequence

from bench.plan.plan import Cell

CellId = tuple[str, str]


class ReadyCells:
    """The cells of a run in plan order; ``done`` are the ids of the finished ones."""

    def __init__(self, cells: Sequence[Cell], done: Collection[CellId]) -> None:
        self._cells = list(cells)
        self._order = {cell.id: i for i, cell in enumerate(self._cells)}
        self._below: dict[CellId, list[CellId]] = defaultdict(list)
        for cell in self._cells:
            for up in cell.upstream:
                self._below[up].append(cell.id)
        # Unfinished upstream cells of each waiting cell; cells that were taken, dropped or finished are not in it.
        self._missing = {c.id: {up for up in c.upstream if up not in done} for c in self._cells if c.id not in done}
        self._heap = [self._order[cell_id] for cell_id, missing in self._missing.items() if not missing]

    def take(self, sets: int | None = None) -> Cell | None:
        """Return the first cell whose upstream cells are done; None if there is none now.

        With ``sets``, only cells of the first training sets of a learning curve: its plan is in the order of the sets.
        """
        while self._heap:
            if sets is not None and self._cells[self._heap[0]].fold >= sets:
                return None
            cell = self._cells[heapq.heappop(self._heap)]
            if cell.id in self._missing and not self._missing[cell.id]:  # otherwise it had to wait again
                del self._missing[cell.id]
                return cell
        return None

    def done(self, cell: Cell) -> None:
        """Mark a cell as finished: cells that waited only for it can start."""
        for cell_id in self._below[cell.id]:
            missing = self._missing.get(cell_id)
            if missing is not None and cell.id in missing:
                missing.discard(cell.id)
                self._push_if_ready(cell_id)

    def again(self, cell: Cell, done: Collection[CellId]) -> None:
        """Put a finished cell back into the queue; ``done`` are all ids that are finished now, without it."""
        self._missing[cell.id] = {up for up in cell.upstream if up not in done}
        for cell_id in self._below[cell.id]:
            if cell_id in self._missing:
                self._missing[cell_id].add(cell.id)
        self._push_if_ready(cell.id)

    def below(self, cell: Cell) -> list[Cell]:
        """Return the cells that need this one directly, in plan order."""
        return [self._cells[self._order[cell_id]] for cell_id in self._below[cell.id]]

    def drop_downstream(self, cell: Cell) -> list[Cell]:
        """Remove and return, in plan order, all waiting cells that depend on this one, directly or indirectly."""
        found: set[CellId] = set()
        todo = [cell.id]
        while todo:
            below = [i for i in self._below[todo.pop()] if i in self._missing and i not in found]
            todo += below
            found.update(below)
        for cell_id in found:
            del self._missing[cell_id]
        return [self._cells[i] for i in sorted(self._order[cell_id] for cell_id in found)]

    def _push_if_ready(self, cell_id: CellId) -> None:
        if not self._missing[cell_id]:
            heapq.heappush(self._heap, self._order[cell_id])
