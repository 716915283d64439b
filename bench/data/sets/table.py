"""Images that a table lists: CSV, TSV, XLSX or Parquet, with columns for file, label, patient, split and mask."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from bench.data.given_split import PART
from bench.data.listing import ImageChecks, Listed, Listing, check_group_name
from bench.data.path_parts import check_regex, groups_named
from bench.data.records import index_listing
from bench.data.table_rows import Row, Rows, read_rows
from bench.data.tables import TABLES, is_table, read_table
from bench.data.walk import PICTURES
from bench.errors import ConfigError, DataError
from bench.types import DataProblem, DatasetIndex, SkippedFiles

WHERE = """\
Expected: a table with one row per image, and paths relative to its folder:
  image,label,patient
  images/a.png,benign,P01
What to do: name the table and its columns in the suite
(dataset: {name: table, file: labels.csv, image: COLUMN, label: COLUMN, group: COLUMN})
and its folder with `--data DIR`, or the table itself with `--data labels.csv`. `bench init TABLE` writes a suite."""


@dataclass(frozen=True)
class TableConfig(ImageChecks):
    """``file``: the table, absolute or relative to the folder of the images.

    ``image``, ``label``, ``group`` (patient), ``split``, ``mask``: names of columns. ``label`` may name several: each
    is a class, and one of them is 1 in each row. None for the last three: there is no such column; without ``group``
    every image is its own group, unless ``group_regex`` finds the patient in its path, as in ``image_folder``. Paths
    are absolute, or relative to the table or to the folder of the images. ``split`` holds train, val and test for
    ``split.protocol: given``. ``classes``: the labels to use, in this order; None: all, sorted. ``group_name``: what
    groups are, in the plural. ``on_bad_row``: rows with a fault, such as a missing file or two labels for one image,
    are an error that lists all of them, or are left out and counted ('skip').
    """

    file: str = "labels.csv"
    image: str = "image"
    label: str | tuple[str, ...] = "label"
    group: str | None = None
    group_regex: str | None = field(default=None, kw_only=True, metadata={"late": True})
    split: str | None = None
    mask: str | None = None
    classes: tuple[str, ...] | None = None
    group_name: str = field(default="patients", metadata={"late": True})
    on_bad_row: Literal["refuse", "skip"] = "refuse"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_group_name("table", self.group_name)
        check_regex("table: group_regex", self.group_regex, "group")
        if self.group_regex is not None and self.group is not None:
            raise ConfigError(f"table: both group ({self.group}) and group_regex are given; expected one of them")
        if self.on_bad_row not in ("refuse", "skip"):
            raise ConfigError(f"table: on_bad_row is {self.on_bad_row!r}; valid: refuse, skip")
        if self.classes is not None and len(set(self.classes)) < max(2, len(self.classes)):
            raise ConfigError(f"table: classes are {self.classes}; expected at least 2, each only once")

    @property
    def columns(self) -> dict[str, str | tuple[str, ...]]:
        """The names of the columns by what they hold."""
        names = {name: getattr(self, name) for name in ("image", "label", "group", "split", "mask")}
        return {name: column for name, column in names.items() if column is not None}


class Table:
    """The images of a table, grouped by its column of patients. Attribute: part, if there is a column of splits."""

    Config = TableConfig

    def __init__(self, config: Any) -> None:
        self.config: TableConfig = config

    def index(self, root: Path | None, cache: Path) -> DatasetIndex:
        """Read the images. ``root`` is the table, or the folder that its path starts from.

        Problems name the row. Raises ``DataError``, which lists the faults of all rows.
        """
        table, found = self._rows(root)
        listing, others = self._listing(table, found)
        whole = replace(listing, files=(*listing.files, *others[0]), others=others[1])
        index = index_listing("table", whole, self.config, cache, WHERE)
        row_of = {_relative(row.file, listing.root): row.number for row in found.rows}
        problems = [
            replace(p, detail=f"{p.detail} ({table.name}, row {row_of[p.path]})") if p.path in row_of else p
            for p in index.problems
        ]
        return replace(index, problems=(*found.notes, *problems))

    def listing(self, root: Path | None) -> Listing:
        """Return the images of the selected classes, unread. Raises ``DataError`` as ``index``."""
        return self._listing(*self._rows(root))[0]

    def _rows(self, root: Path | None) -> tuple[Path, Rows]:
        path, folders = self._locate(root)
        found = read_rows(read_table(path), self.config.columns, folders, self.config.classes)
        if found.faults and self.config.on_bad_row == "refuse":
            notes = f"\nread with a correction:\n{_lines(found.notes)}" if found.notes else ""
            rows = len({p.path for p in found.faults})
            unsplit = "; dataset.split=null ignores the column of parts" if self.config.split else ""
            raise DataError(
                f"{path}: {rows:,} rows have faults:\n{_lines(found.faults)}{notes}\n"
                f"correct the table, or leave these rows out with dataset.on_bad_row=skip{unsplit}"
            )
        return path, found

    def _locate(self, root: Path | None) -> tuple[Path, tuple[Path, ...]]:
        """Return the table, and the folders that relative paths of images may start from."""
        file = Path(self.config.file).expanduser()
        if root is None and not file.is_absolute():
            raise DataError(f"a table is needed, but no folder was given for {file}.\n{WHERE}")
        if root is not None and not root.exists():
            raise DataError(f"{root} does not exist.\n{WHERE}")
        path = root if root is not None and root.is_file() else (root or Path()) / file
        if not path.is_file():
            have = ", ".join(sorted(p.name for p in path.parent.glob("*") if is_table(p))) or "none"
            raise DataError(f"table {path} does not exist; tables ({', '.join(TABLES)}) there: {have}.\n{WHERE}")
        more = (root,) if root is not None and root.is_dir() and root != path.parent else ()
        return path, (path.parent, *more)

    def _listing(self, table: Path, found: Rows) -> tuple[Listing, tuple[list[Listed], tuple[str, ...]]]:
        """Return the listing of the selected classes; the images of other classes, and the names of these."""
        labels = sorted({row.label for row in found.rows})
        classes = self.config.classes or tuple(labels)
        if len(classes) < 2:
            raise DataError(f"{table} has the labels {labels}; at least 2 are needed.\n{WHERE}")
        others = tuple(label for label in labels if label not in classes)
        label_of = {name: i for i, name in enumerate((*classes, *others))}
        paths = [str(p.parent) for row in found.rows for p in (row.file, *row.masks)]
        root = Path(os.path.commonpath([str(table.parent), *dict.fromkeys(paths)]))
        regex = self.config.group_regex
        named = groups_named(regex, (_relative(row.file, root) for row in found.rows)) if regex else {}
        files = [self._listed(row, root, label_of[row.label], named) for row in found.rows]
        selected = [f for f in files if f.label < len(classes)]
        listing = Listing(
            root, classes, tuple(selected), found.faults, bool(self.config.group or regex), "",
            any(f.masks for f in selected), skipped=_skipped(found.rows, root, others), groups=self.config.group_name,
        )  # fmt: skip
        return listing, ([f for f in files if f.label >= len(classes)], others)

    def _listed(self, row: Row, root: Path, label: int, named: Mapping[str, str]) -> Listed:
        path = _relative(row.file, root)
        masks = tuple(_relative(mask, root) for mask in row.masks)
        return Listed(path, label, row.group or named.get(path, path), masks, ((PART, row.part),) if row.part else ())


def _relative(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()


def _lines(problems: Sequence[DataProblem]) -> str:
    return "\n".join(f"  {p.path}: {p.kind}: {p.detail}" for p in problems)


def _skipped(rows: Sequence[Row], root: Path, others: tuple[str, ...]) -> tuple[SkippedFiles, ...]:
    """Return the images of other classes, by class, and the pictures beside the images that no row names."""
    found = []
    count = Counter(row.label for row in rows)
    for label in others:
        example = next(row.file for row in rows if row.label == label)
        found.append(SkippedFiles(f"images of {label}, which is not selected", count[label], _relative(example, root)))
    known = {path for row in rows for path in (row.file, *row.masks)}
    beside = [
        Path(entry.path)
        for folder in sorted({row.file.parent for row in rows})
        for entry in os.scandir(folder)
        if entry.name.lower().endswith(PICTURES) and entry.is_file() and Path(entry.path) not in known
    ]
    if beside:
        found.append(SkippedFiles("images that no usable row names", len(beside), _relative(min(beside), root)))
    return tuple(found)
