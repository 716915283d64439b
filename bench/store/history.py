"""``history.csv`` of a cell: the logged values of its training, one per line."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from bench.store.csv_cells import restored

HISTORY = "history.csv"
COLUMNS = ("step", "name", "value")


def read_history(path: Path) -> Iterator[tuple[int, str, float]]:
    """Yield (step, name, value) in the order of logging; nothing if the file does not exist.

    Invalid lines, such as an incomplete last line of a killed process, are skipped.
    """
    if not path.is_file():
        return
    with path.open("rb") as f:
        for line in f:
            try:
                ((step, name, value),) = csv.reader([line.decode()])
                yield int(step), restored(name), float(value)
            except (ValueError, csv.Error):  # also the header
                continue
