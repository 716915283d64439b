"""HAM10000, the training images of ISIC 2018 task 3: dermoscopy of pigmented lesions, seven diagnoses.

Tschandl, Rosendahl, Kittler: "The HAM10000 dataset, a large collection of multi-source dermatoscopic images of common
pigmented skin lesions", Scientific Data 5:180161, 2018. CC BY-NC 4.0. 10,015 images of 7,470 lesions; patients are not
published, so groups are lesions. Three layouts are read: images with ``HAM10000_metadata.csv`` (columns lesion_id,
image_id, dx), images with the ground truth and lesion groupings of ISIC 2018, and folders ``melanoma`` and ``other``
whose names begin with the lesion, ``HAM_0000118__ISIC_0027419.jpg``.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Literal, NamedTuple

from bench.data.listing import ImageChecks, Listed, Listing
from bench.data.records import index_listing
from bench.data.sets.finding import find_layout
from bench.data.walk import Walk
from bench.errors import DataError
from bench.types import DataProblem, DatasetIndex

HOMEPAGE = "https://doi.org/10.7910/DVN/DBW86T"
DIAGNOSES = {  # as in the column dx, and in the header of ISIC 2018's ground truth
    "akiec": "actinic keratosis",
    "bcc": "basal cell carcinoma",
    "bkl": "benign keratosis",
    "df": "dermatofibroma",
    "mel": "melanoma",
    "nv": "nevus",
    "vasc": "vascular lesion",
}
BINARY = ("other", "melanoma")
COLUMNS = ("lesion_id", "image_id", "dx")  # of HAM10000_metadata.csv
WHERE = f"""\
Expected layout, one of
  HAM10000_metadata.csv (columns {", ".join(COLUMNS)}) beside folders of the images, ISIC_0024306.jpg, …
  ISIC2018_Task3_Training_GroundTruth.csv, ISIC2018_Task3_Training_LesionGroupings.csv, and the images, at any depth
  melanoma/HAM_<n>__ISIC_<m>.jpg, … and other/HAM_<n>__ISIC_<m>.jpg, … (for two classes only)
What to do: download the set (3 GB, free) from {HOMEPAGE}
or with `bench data download ham10000`, unpack it anywhere, and name that folder with `--data DIR` or the variable
BENCH_DATA, e.g. `--data data/HAM10000`."""


class _Row(NamedTuple):
    """What a table says of one image."""

    dx: str
    lesion: str
    attributes: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Ham10000Config(ImageChecks):
    """``task``: 'melanoma' (other, melanoma) or 'seven' diagnoses, which need the official table."""

    task: Literal["melanoma", "seven"] = "melanoma"

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes of the task, in the order of the labels."""
        return BINARY if self.task == "melanoma" else tuple(DIAGNOSES.values())


class Ham10000:
    """Melanoma against other pigmented lesions, or seven diagnoses, grouped by lesion. Attributes from the table."""

    Config = Ham10000Config
    licence: ClassVar[str] = "CC BY-NC 4.0"
    modality: ClassVar[str] = "dermoscopy"

    def __init__(self, config: Any) -> None:
        self.config: Ham10000Config = config

    def index(self, root: Path | None, cache: Path) -> DatasetIndex:
        """Read the images. ``root`` is the folder of the table, or of ``melanoma`` and ``other``, or one above it.

        Raises ``DataError``.
        """
        found = index_listing("ham10000", self.listing(root), self.config, cache, WHERE)
        return replace(found, positive="melanoma") if self.config.task == "melanoma" else found

    def listing(self, root: Path | None) -> Listing:
        """Return the images of known lesions, unread; others are reported. Raises ``DataError`` if there are none."""
        folder = find_ham_folder(root)
        walk = Walk(folder)
        if _is_flat(folder):
            if self.config.task == "seven":
                raise DataError(
                    f"task 'seven' needs the diagnoses in a table, and {folder} has only the folders melanoma and "
                    f"other; set dataset.task=melanoma, or take the official set.\n{WHERE}"
                )
            files, foreign = _flat(walk)
        else:
            files, foreign = _tabled(walk, _table(folder), self.config)
        if not files:
            raise DataError(f"no images of HAM10000 under {folder}.\n{WHERE}")
        return Listing(
            folder, self.config.classes, tuple(files), tuple(foreign), stain="", skipped=walk.skipped, groups="lesions"
        )


def find_ham_folder(root: Path | None) -> Path:
    """Return the folder of the table, or of ``melanoma`` and ``other``. Raises ``DataError`` with instructions."""
    missing = "HAM10000: no table of lesions, and no folders melanoma and other with names such as HAM_1__ISIC_2.jpg"

    def holds(folder: Path) -> bool:
        return _is_flat(folder) or bool(_table(folder))

    return find_layout(root, "HAM10000", holds, ("HAM10000", "ham10000"), missing, WHERE)


def _is_flat(folder: Path) -> bool:
    return all((folder / name).is_dir() for name in BINARY) and any((folder / "melanoma").glob("*__*"))


def _flat(walk: Walk) -> tuple[list[Listed], list[DataProblem]]:
    files: list[Listed] = []
    foreign: list[DataProblem] = []
    for label, name in enumerate(BINARY):
        for path in walk.pictures(name):
            lesion, separator, _ = path.rsplit("/", 1)[-1].partition("__")
            if lesion and separator:
                files.append(Listed(path, label, lesion))
            else:
                foreign.append(DataProblem(path, "foreign_name", "expected <lesion>__<image>.jpg"))
    walk.leave(BINARY)
    return files, foreign


def _tabled(walk: Walk, table: Mapping[str, _Row], config: Ham10000Config) -> tuple[list[Listed], list[DataProblem]]:
    """Return the images that the table names, and problems: images without a row, and rows without an image."""
    files: list[Listed] = []
    foreign: list[DataProblem] = []
    missing = dict.fromkeys(table)
    for path in walk.pictures():
        image = PurePosixPath(path).stem
        row = table.get(image)
        missing.pop(image, None)
        if row is None:
            foreign.append(DataProblem(path, "foreign_name", "the table of lesions has no row for this image"))
            continue
        name = DIAGNOSES[row.dx] if config.task == "seven" or row.dx == "mel" else "other"
        files.append(Listed(path, config.classes.index(name), row.lesion, attributes=row.attributes))
    foreign += [
        DataProblem(i, "missing_file", "the table has a row for this image, but there is none") for i in missing
    ]
    return files, foreign


def _table(folder: Path) -> dict[str, _Row]:
    """Return the rows by image of the first table found, in the folder or one below it; {} if there is none.

    Raises ``DataError`` for a diagnosis that is not one of the seven.
    """
    rows: dict[str, _Row] = {}
    diagnosis, lesions = {}, {}
    tables = {p for name in ("*.csv", "HAM10000_metadata*") for at in ("", "*/") for p in folder.glob(at + name)}
    for path in sorted(p for p in tables if p.is_file()):
        with open(path, encoding="utf-8-sig", errors="replace", newline="") as f:
            separator = "\t" if "\t" in f.readline() else ","
            f.seek(0)
            reader = csv.DictReader(f, delimiter=separator)
            header = reader.fieldnames or ()
            if set(COLUMNS) <= set(header):
                more = [name for name in ("age", "dx_type", "localization", "sex") if name in header]
                for row in reader:
                    dx = _known(row["dx"], path)
                    attributes = (("dx", dx), *((name, row[name] or "unknown") for name in more))
                    rows.setdefault(row["image_id"], _Row(dx, row["lesion_id"], tuple(sorted(attributes))))
            elif {"image", *(dx.upper() for dx in DIAGNOSES)} <= set(header):
                for row in reader:
                    marked = [dx for dx in DIAGNOSES if row[dx.upper()].strip() in ("1", "1.0")]
                    diagnosis[row["image"]] = _known(" and ".join(marked), path)
            elif {"image", "lesion_id"} <= set(header):
                lesions.update({row["image"]: row["lesion_id"] for row in reader})
    if rows:
        return rows
    return {i: _Row(dx, lesions[i], (("dx", dx),)) for i, dx in diagnosis.items() if i in lesions}


def _known(dx: str, path: Path) -> str:
    if dx.strip().lower() not in DIAGNOSES:
        raise DataError(f"{path}: dx is {dx!r}; expected one of {', '.join(DIAGNOSES)}")
    return dx.strip().lower()
