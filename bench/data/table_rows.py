"""What the rows of a table say of images: file, label, patient, part and mask of each, and all faults at once.

A row has a *fault* if no sensible reading exists, such as a missing file or two labels for one image. A *note* names a
row that was read with a correction, such as removed blanks. Both name their row.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path, PurePosixPath

from bench.data.given_split import NAMES, part_named
from bench.data.suspected_masks import named_masks
from bench.data.tables import TextTable, is_empty, usual_spellings
from bench.data.walk import Walk
from bench.errors import DataError
from bench.types import DataProblem

ONES, ZEROS = ("1", "1.0"), ("0", "0.0")  # in the columns of classes
MOST_ROWS = 5  # named per part in the message on a patient in several parts


@dataclass(frozen=True)
class Row:
    """One image: row number, absolute path, label, patient ('' without such a column), part ('' likewise), masks."""

    number: int
    file: Path
    label: str
    group: str = ""
    part: str = ""
    masks: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Rows:
    """The usable rows, one per image in the order of the table; faults of other rows, and notes on corrections."""

    rows: tuple[Row, ...]
    faults: tuple[DataProblem, ...]
    notes: tuple[DataProblem, ...]


def read_rows(
    table: TextTable,
    columns: Mapping[str, str | tuple[str, ...]],
    folders: Sequence[Path],
    classes: Iterable[str] | None = None,
) -> Rows:
    """Return the images of a table.

    ``columns`` are the names of the columns for 'image' and 'label', and for 'group', 'split' and 'mask' if there are
    any. Several columns for 'label' are classes, of which one is 1 in each row and the others are 0. Relative paths
    start in one of ``folders``. ``classes`` gives the spelling of labels; by default the most frequent one. Raises
    ``DataError`` for columns that do not exist.
    """
    reader = _Reader(table, columns, folders)
    rows = [row for number, cells in table.rows if (row := reader.read(number, cells))]
    rows = reader.spelled(rows, classes)
    contradictory = reader.contradictory(rows) | reader.crossing(rows)
    kept = reader.combined([row for row in rows if row.number not in contradictory])
    return Rows(kept, _by_row(table, reader.faults), (*table.notes, *_by_row(table, reader.notes)))


def _by_row(table: TextTable, found: Iterable[tuple[int, str, str]]) -> tuple[DataProblem, ...]:
    return tuple(DataProblem(table.place(n), kind, detail) for n, kind, detail in sorted(found))


class _Reader:
    """Reads rows and keeps (row number, kind, detail) of faults and notes."""

    def __init__(self, table: TextTable, columns: Mapping[str, str | tuple[str, ...]], folders: Sequence[Path]) -> None:
        self.faults: list[tuple[int, str, str]] = []
        self.notes: list[tuple[int, str, str]] = []
        self._columns = {name: c if isinstance(c, str) else "/".join(c) for name, c in columns.items()}
        self._finder = FileFinder(folders)
        self._width = len(table.columns)
        self._at: dict[str, int] = {}
        self._flags: dict[str, int] = {}  # classes with a column of their own
        unknown = []
        for name, named in columns.items():
            if isinstance(named, str):
                places, asked = self._at, {name: named}
            else:
                places, asked = self._flags, {column: column for column in named}
            for key, column in asked.items():
                try:
                    places[key] = table.column(column)
                except DataError as e:
                    unknown.append(str(e))
        if unknown:
            raise DataError("\n".join([*unknown, "name the columns in dataset: {image: …, label: …, group: …}"]))

    def read(self, number: int, cells: Sequence[str]) -> Row | None:
        """Return what a row says; None, with its faults noted, if it cannot be used."""
        faults = len(self.faults)
        if any(not is_empty(cell) for cell in cells[self._width :]):
            self._fault(number, "too_many_cells", f"{len(cells)} cells for {self._width} columns; quote separators")
            return None
        value = {}
        for name, at in self._at.items():
            raw = cells[at] if at < len(cells) else ""
            value[name] = raw.strip()
            if raw != value[name]:
                self._note(number, "blanks", f"{self._columns[name]} {raw!r} was read as {value[name]!r}")
            if is_empty(raw):
                value[name] = ""
                if name != "mask":
                    self._fault(number, f"empty_{name}", f"{self._columns[name]} is empty")
        if self._flags:
            value["label"] = self._flagged(number, cells)
        part = part_named(value["split"]) if value.get("split") else None
        if value.get("split") and part is None:
            self._fault(
                number, "unknown_split", f"{self._columns['split']} is {value['split']!r}; valid: {', '.join(NAMES)}"
            )
        files = {name: self._file(number, value[name]) for name in ("image", "mask") if value.get(name)}
        if len(self.faults) > faults:
            return None
        masks = tuple(path for name, path in files.items() if name == "mask" and path)
        return Row(number, files["image"] or Path(), value["label"], value.get("group", ""), part or "", masks)

    def _flagged(self, number: int, cells: Sequence[str]) -> str:
        """Return the class whose column is 1; '', with a fault, unless exactly one is 1 and the others are 0."""
        texts = {name: cells[at].strip() if at < len(cells) else "" for name, at in self._flags.items()}
        chosen = [name for name, text in texts.items() if text in ONES]
        if len(chosen) == 1 and all(text in (*ZEROS, "") for name, text in texts.items() if name != chosen[0]):
            return chosen[0]
        shown = ", ".join(f"{name} {text!r}" for name, text in texts.items())
        self._fault(number, "not_one_class", f"{shown}; expected 1 for one class and 0 for the others")
        return ""

    def spelled(self, rows: Sequence[Row], classes: Iterable[str] | None) -> list[Row]:
        """Return the rows with one spelling of each label and patient; notes name the others."""
        labels = usual_spellings(row.label for row in rows)
        chosen = {name.casefold(): name for name in classes or ()}
        groups = usual_spellings(row.group for row in rows)
        found = []
        for row in rows:
            label = row.label if row.label in chosen.values() else chosen.get(row.label.casefold(), labels[row.label])
            new = replace(row, label=label, group=groups[row.group])
            for name in ("label", "group"):
                old, now = getattr(row, name), getattr(new, name)
                if old != now:
                    self._note(row.number, "spelling", f"{self._columns[name]} {old!r} was read as {now!r}")
            found.append(new)
        return found

    def contradictory(self, rows: Sequence[Row]) -> set[int]:
        """Return the numbers of rows that name one file with different labels, patients or parts."""
        found = set()
        for file, same in _grouped(rows, lambda row: str(row.file)).items():
            for name, kind in (("label", "two_labels"), ("group", "two_groups"), ("part", "two_parts")):
                if len({getattr(row, name) for row in same}) > 1:
                    values = ", ".join(f"{getattr(row, name)!r} in row {row.number}" for row in same)
                    for row in same:
                        self._fault(row.number, kind, f"{Path(file).name} has {values}")
                        found.add(row.number)
        return found

    def crossing(self, rows: Sequence[Row]) -> set[int]:
        """Return the numbers of the rows of patients that are in several parts."""
        found = set()
        for group, same in _grouped((row for row in rows if row.group and row.part), lambda row: row.group).items():
            parts = _grouped(same, lambda row: row.part)
            if len(parts) == 1:
                continue
            where = " and ".join(f"{part} ({_rows_text(of)})" for part, of in sorted(parts.items()))
            for row in same:
                self._fault(row.number, "group_in_several_parts", f"{self._columns['group']} {group} is in {where}")
                found.add(row.number)
        return found

    def combined(self, rows: Sequence[Row]) -> tuple[Row, ...]:
        """Return one row per file: the first, with the masks of all."""
        found = []
        for same in _grouped(rows, lambda row: str(row.file)).values():
            masks = tuple(dict.fromkeys(mask for row in same for mask in row.masks))
            for row in same[1:]:
                more = " and gives it another mask" if row.masks and row.masks != same[0].masks else ""
                detail = f"names the same image as row {same[0].number}{more}; the image is used once"
                self._note(row.number, "repeated_row", detail)
            found.append(replace(same[0], masks=masks))
        return tuple(found)

    def _file(self, number: int, text: str) -> Path | None:
        path, kind, detail = self._finder.find(text)
        if path is None:
            self._fault(number, kind, detail)
        elif kind:
            self._note(number, kind, detail)
        return path

    def _fault(self, number: int, kind: str, detail: str) -> None:
        self.faults.append((number, kind, detail))

    def _note(self, number: int, kind: str, detail: str) -> None:
        self.notes.append((number, kind, detail))


class FileFinder:
    """Finds the file that a cell names, below some folders."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = folders

    def find(self, text: str) -> tuple[Path | None, str, str]:
        """Return the absolute path, and the kind and detail of a note; or None, and those of a fault."""
        posix = text.replace("\\", "/")
        for spelling in dict.fromkeys((text, posix)):
            for folder in self._folders:
                path = Path(os.path.normpath(folder / spelling))
                if os.path.isfile(path):
                    if os.path.isabs(spelling):
                        return path, "absolute_path", f"{text} is used; a copy of the folder would still read it"
                    changed = "windows_separators" if spelling != text else ""
                    return path, changed, f"{text} was read as {spelling}"
        name = PurePosixPath(posix).name.casefold()
        same = self._by_name.get(name, [])
        if len(same) > 1:
            masks = named_masks(same)
            same = [path for path in same if path not in masks] or same
        if len(same) == 1:
            return self._folders[0] / same[0], "found_by_name", f"{text} was read as {same[0]}"
        if same:
            return None, "ambiguous_file", f"{text} does not exist, and {len(same)} files have this name: {same[:3]}"
        return None, "missing_file", f"{text} does not exist in {self._folders[0]}"

    @cached_property
    def _by_name(self) -> dict[str, list[str]]:
        """The pictures below the first folder by their name and by their name without extension, in lower case."""
        found: defaultdict[str, list[str]] = defaultdict(list)
        for path in Walk(self._folders[0]).pictures():
            pure = PurePosixPath(path)
            for name in {pure.name.casefold(), pure.stem.casefold()}:
                found[name].append(path)
        return found


def _grouped(rows: Iterable[Row], key: Callable[[Row], str]) -> dict[str, list[Row]]:
    found: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        found[key(row)].append(row)
    return found


def _rows_text(rows: Sequence[Row]) -> str:
    named = ", ".join(str(row.number) for row in rows[:MOST_ROWS])
    more = f" and {len(rows) - MOST_ROWS} more" if len(rows) > MOST_ROWS else ""
    return f"row {named}{more}" if len(rows) == 1 else f"rows {named}{more}"
