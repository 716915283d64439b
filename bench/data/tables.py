"""Reading a table of texts from CSV, TSV, XLSX and Parquet files, as spreadsheets write them.

Rows are numbered as in a spreadsheet: the header is row 1, or the first with several cells. Whatever is corrected while
reading is a note with its row.
"""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.errors import DataError, nearest
from bench.types import DataProblem

NOTES = (  # kinds of notes; such rows are used
    "absolute_path", "blanks", "byte_order_mark", "empty_row", "encoding", "found_by_name", "repeated_row", "separator",
    "sheets", "spelling", "title_rows", "windows_separators",
)  # fmt: skip
TABLES = (".csv", ".tsv", ".txt", ".xlsx", ".parquet")
EMPTY = ("", "na", "n/a", "nan", "null", "#n/a")  # texts of an empty cell, in lower case
_ENCODINGS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}  # by byte order mark
_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}


@dataclass(frozen=True)
class TextTable:
    """A table as texts. ``rows`` are (row number, cells); there may be fewer or more cells than columns."""

    path: Path
    columns: tuple[str, ...]
    rows: tuple[tuple[int, tuple[str, ...]], ...]
    notes: tuple[DataProblem, ...] = ()

    def place(self, row: int) -> str:
        """Return a row's place for messages, such as 'labels.csv, row 7'."""
        return place(self.path, row)

    def column(self, asked: str) -> int:
        """Return the position of a column, whatever its case. Raises ``DataError`` with the nearest name."""
        exact = [i for i, name in enumerate(self.columns) if name == asked]
        found = exact or [i for i, name in enumerate(self.columns) if name.casefold() == asked.strip().casefold()]
        if len(found) == 1:
            return found[0]
        if found:
            raise DataError(f"{self.path}: {len(found)} columns are called {asked!r}; rename all but one")
        raise DataError(f"{self.path}: no column is called {asked!r}; {nearest(asked, self.columns)}")


def place(path: Path, row: int) -> str:
    """Return the place of a row of a table, for messages."""
    return f"{path.name}, row {row}"


def is_table(path: Path) -> bool:
    """Whether a path is a file that can be a table, by its extension."""
    return path.suffix.lower() in TABLES and path.is_file()


def read_table(path: Path) -> TextTable:
    """Read a table; a column without a name, such as pandas' index, is called 'column 1' by its place.

    Raises ``DataError`` if it cannot be read, has no rows, or no column has a name.
    """
    try:
        raw, notes = _cells(path)
    except DataError:
        raise
    except Exception as e:  # openpyxl, zipfile and pyarrow raise many kinds of errors for damaged files
        raise DataError(f"{path} cannot be read as a table: {type(e).__name__}: {e}") from e
    top = next((i for i, cells in enumerate(raw) if sum(bool(cell.strip()) for cell in cells) > 1), 0)
    if top:
        what = f"{top} above the names of the columns, such as {' '.join(raw[0]).strip()!r}; left out"
        notes.append(DataProblem(place(path, 1), "title_rows", what))
    header = [name.strip() for name in raw[top]] if raw else []
    while header and not header[-1]:
        header.pop()  # spreadsheets write empty columns at the end
    if not header:
        raise DataError(f"{path}: row {top + 1} is empty; expected the names of the columns")
    named = tuple(name or f"column {i}" for i, name in enumerate(header, start=1))
    if list(raw[top][: len(header)]) != header:
        notes.append(DataProblem(place(path, top + 1), "blanks", "blanks around the names of columns were removed"))
    rows = [(n, tuple(cells)) for n, cells in enumerate(raw[top + 1 :], start=top + 2)]
    while rows and not any(cell.strip() for cell in rows[-1][1]):
        rows.pop()
    for n, cells in rows:
        if not any(cell.strip() for cell in cells):
            notes.append(DataProblem(place(path, n), "empty_row", "the row is empty"))
    rows = [(n, cells) for n, cells in rows if any(cell.strip() for cell in cells)]
    if not rows:
        raise DataError(f"{path} has no rows below its header")
    return TextTable(path, named, tuple(rows), tuple(notes))


def _cells(path: Path) -> tuple[list[Sequence[str]], list[DataProblem]]:
    """Return all rows of a file, the header first, and notes."""
    kind = path.suffix.lower()
    if kind == ".xlsx":
        return _workbook(path)
    if kind == ".parquet":
        import pandas as pd

        frame = pd.read_parquet(path)
        return [list(map(str, frame.columns)), *(list(map(text_of, row)) for row in frame.itertuples(index=False))], []
    if kind in TABLES:
        return _separated(path)
    raise DataError(f"{path}: got the extension {kind!r}, expected one of {', '.join(TABLES)}")


def _separated(path: Path) -> tuple[list[Sequence[str]], list[DataProblem]]:
    content, notes, at = path.read_bytes(), [], place(path, 1)
    mark = next((m for m in _ENCODINGS if content.startswith(m)), b"")
    if mark:
        notes.append(DataProblem(at, "byte_order_mark", f"a byte order mark; read as {_ENCODINGS[mark].upper()}"))
    try:
        text = content.decode(_ENCODINGS.get(mark, "utf-8"))
    except UnicodeDecodeError:
        text = content.decode("cp1252", errors="replace")
        notes.append(DataProblem(at, "encoding", "not UTF-8; read as Windows-1252"))
    first, _, rest = text.partition("\n")
    if first.lower().startswith("sep=") and len(first.strip()) == 5:  # for Excel, which does not show it
        separator, text = first.strip()[4], rest
    else:
        separator = _separator(text)
    expected = "\t" if path.suffix.lower() == ".tsv" else ","
    if separator not in (expected, ""):
        name = _SEPARATORS.get(separator, repr(separator))
        notes.append(DataProblem(at, "separator", f"columns are separated by {name}"))
    rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=separator or expected))
    return [*rows], notes


def _separator(text: str) -> str:
    """Return the most frequent separator of the first line that has one; '' if none has."""
    for line in map(_outside_quotes, text.splitlines()):
        counts = {separator: line.count(separator) for separator in _SEPARATORS}
        if any(counts.values()):
            return max(counts, key=lambda s: counts[s])
    return ""


def _outside_quotes(line: str) -> str:
    return "".join(line.split('"')[::2])


def _workbook(path: Path) -> tuple[list[Sequence[str]], list[DataProblem]]:
    try:
        import openpyxl
    except ImportError as e:
        raise DataError(f"{path}: XLSX files need openpyxl: pip install openpyxl, or save the table as CSV") from e
    book = openpyxl.load_workbook(path, read_only=True, data_only=True)
    try:
        names = book.sheetnames
        rows = [[text_of(cell) for cell in row] for row in book[names[0]].iter_rows(values_only=True)]
    finally:
        book.close()
    others = f"the sheet {names[0]!r} is read, not {', '.join(names[1:])}"
    return [*rows], [DataProblem(path.name, "sheets", others)] if names[1:] else []


def text_of(value: Any) -> str:
    """Return the text of a cell: '' if it is empty, whole numbers without '.0'."""
    if value is None or (isinstance(value, float) and math.isnan(value)) or str(value) in ("<NA>", "NaT"):
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def is_empty(text: str) -> bool:
    """Whether a text stands for an empty cell."""
    return text.strip().lower() in EMPTY


def usual_spellings(texts: Iterable[str]) -> Mapping[str, str]:
    """Return for every text the most frequent one that differs only in upper and lower case."""
    counts = Counter(texts)
    best: dict[str, str] = {}
    for text in sorted(counts, key=lambda t: (-counts[t], t)):
        best.setdefault(text.casefold(), text)
    return {text: best[text.casefold()] for text in counts}
