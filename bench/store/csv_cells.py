"""CSV files without formula injection: a spreadsheet must not read a text as a formula. All CSV files of bench use it.

A text that starts (after white space) with = + - or @ gets a leading apostrophe. ``restored`` removes it again for
every possible text, so reading returns what was written. Numbers are unchanged.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

_FORMULA = re.compile(r"'*(?:\s*[=+\-@＝＋－＠]|[\t\r\n])")  # some spreadsheets treat full-width characters alike
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|[+-]inf")
T = TypeVar("T")


class Sink(Protocol):
    """Output for text: an open file, or ``io.StringIO``."""

    def write(self, text: str, /) -> object:
        """Write a text."""
        ...


class Writer:
    """Writes rows as ``csv.writer`` does, with neutralised texts."""

    def __init__(self, out: Sink, lineterminator: str = "\r\n") -> None:
        self._rows = csv.writer(out, lineterminator=lineterminator)

    def writerow(self, row: Iterable[Any]) -> None:
        """Write one row."""
        self._rows.writerow([neutralised(cell) for cell in row])

    def writerows(self, rows: Iterable[Iterable[Any]]) -> None:
        """Write rows."""
        for row in rows:
            self.writerow(row)


class DictWriter:
    """Writes mappings under a header of column names, with neutralised texts; missing columns are empty.

    Raises ``ValueError`` for a key that is not a column.
    """

    def __init__(self, out: Sink, columns: Sequence[str], lineterminator: str = "\r\n") -> None:
        self._columns, self._known, self._rows = columns, set(columns), Writer(out, lineterminator)

    def writeheader(self) -> None:
        """Write the names of the columns."""
        self._rows.writerow(self._columns)

    def writerow(self, row: Mapping[str, Any]) -> None:
        """Write one row."""
        if more := row.keys() - self._known:
            raise ValueError(f"got columns {sorted(more)}, expected only {list(self._columns)}")
        self._rows.writerow([row.get(column, "") for column in self._columns])

    def writerows(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Write rows."""
        for row in rows:
            self.writerow(row)


def neutralised(cell: T) -> T | str:
    """Return the value to write for a cell: a text that a spreadsheet would evaluate gets a leading apostrophe."""
    risky = isinstance(cell, str) and _FORMULA.match(cell) and not _NUMBER.fullmatch(cell)
    return f"'{cell}" if risky else cell


def restored(cell: str) -> str:
    """Return the text that ``neutralised`` was given."""
    return cell[1:] if cell.startswith("'") and neutralised(cell[1:]) == cell else cell


def read_rows(lines: Iterable[str]) -> list[dict[str, str]]:
    """Return the rows of a file by their columns, as ``csv.DictReader``, texts restored.

    Raises ``ValueError`` for a line that has more or fewer fields than the header.
    """
    table = csv.reader(lines)
    columns = [restored(name) for name in next(table, [])]
    return [dict(zip(columns, map(restored, row), strict=True)) for row in table if row]
