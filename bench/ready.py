"""Which cells of a run can start, and which no longer can; a whole run asks in time that grows as its cells do."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Collection, Sequence

from bench.plan import Cell

CellId = tuple[str, str]


class ReadyCells:
    """Cells that wait in plan order; ``done`` are the ids of those upstream that are finished already."""

    def __init__(self, cells: Sequence[Cell], done: Collection[CellId]) -> None:
        self._cells = list(cells)
        self._order = {cell.id: i for i, cell in enumerate(self._cells)}
        self._missing = {cell.id: {up for up in cell.upstream if up not in done} for cell in self._cells}
        self._needed_by: dict[CellId, list[CellId]] = defaultdict(list)
        for cell_id, missing in self._missing.items():
            for up in missing:
                self._needed_by[up].append(cell_id)
        self._heap = [self._order[cell_id] for cell_id, missing in self._missing.items() if not missing]

    def take(self) -> Cell | None:
        """Return the first cell whose upstream is done; None where there is none now."""
        return self._cells[heapq.heappop(self._heap)] if self._heap else None

    def put_back(self, cell: Cell) -> None:
        """Have a cell that was taken wait again."""
        heapq.heappush(self._heap, self._order[cell.id])

    def done(self, cell: Cell) -> None:
        """Note that a cell is finished: what needed only it can start."""
        for cell_id in self._needed_by.pop(cell.id, ()):
            missing = self._missing[cell_id]
            missing.discard(cell.id)
            if not missing:
                heapq.heappush(self._heap, self._order[cell_id])

    def drop_downstream(self, cell: Cell) -> list[Cell]:
        """Take out, and return in plan order, all cells that need this one, directly or through others."""
        found: set[CellId] = set()
        todo = [cell.id]
        while todo:
            below = self._needed_by.pop(todo.pop(), ())
            todo += [i for i in below if i not in found]
            found.update(below)
        return [self._cells[i] for i in sorted(self._order[cell_id] for cell_id in found)]
