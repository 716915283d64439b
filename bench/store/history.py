"""``history.csv`` of a cell: what its training logged, a line a value."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from bench.store.csv_cells import restored

HISTORY = "history.csv"
COLUMNS = ("step", "name", "value")


def read_history(path: Path) -> Iterator[tuple[int, str, float]]:
    """Yield (step, name, value) as they were logged; nothing where there is no such file.

    Lines that are no such values, as a killed process may leave one, are passed over.
    """
    if not path.is_file():
        return
    with path.open("rb") as f:
        for line in f:
            try:
                ((step, name, value),) = csv.reader([line.decode()])
                yield int(step), restored(name), float(value)
            except (ValueError, csv.Error):  # COLUMNS, too
                continue
