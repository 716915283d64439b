"""``history.csv`` of a cell: what its training logged, a line a value."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from bench.csv_cells import restored

HISTORY = "history.csv"
COLUMNS = ("step", "name", "value")


def read_history(path: Path) -> Iterator[tuple[int, str, float]]:
    """Yield (step, name, value) as they were logged; nothing where there is no such file."""
    if not path.is_file():
        return
    with path.open(newline="", encoding="utf-8") as f:
        lines = csv.reader(f)
        next(lines, None)  # COLUMNS
        for step, name, value in lines:
            yield int(step), restored(name), float(value)
