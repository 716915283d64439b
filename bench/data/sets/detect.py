"""Detects which registered dataset layout a folder of images has, and warns when it fits another dataset."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from bench.data.sets.breakhis import find_breast_folder
from bench.data.sets.busi import find_busi_folder
from bench.data.sets.chest_xray import find_chest_folder
from bench.data.sets.ham10000 import find_ham_folder
from bench.data.sets.ihc import find_ihc_folder
from bench.data.sets.isic9 import find_train_folder
from bench.data.sets.malaria import find_cell_folder
from bench.data.tables import is_table
from bench.errors import DataError
from bench.interfaces import Dataset
from bench.types import DataProblem, DatasetIndex

LAYOUTS: dict[str, Callable[[Path | None], Path]] = {
    "breakhis": find_breast_folder,
    "busi": find_busi_folder,
    "isic9": find_train_folder,
    "chest_xray": find_chest_folder,
    "malaria": find_cell_folder,
    "ham10000": find_ham_folder,
    "ihc": find_ihc_folder,
}


def detect(root: Path) -> str:
    """Return the dataset whose layout ``root`` has: ``table`` for a table, ``image_folder`` if no known layout fits.

    Raises ``DataError`` if the folder does not exist.
    """
    if is_table(root):
        return "table"
    if not root.is_dir():
        raise DataError(
            f"folder {root} does not exist; give a folder of images, as argument, with --data or BENCH_DATA"
        )
    return known_layout(root) or "image_folder"


def known_layout(root: Path | None) -> str | None:
    """Return the dataset whose layout a folder has; None if it is not a folder or no layout fits."""
    if root is None or not root.is_dir():
        return None
    for name, find in LAYOUTS.items():
        try:
            find(root)
        except DataError:
            continue
        return name
    return None


def read_index(dataset: Dataset, name: str, root: Path | None, cache: Path) -> DatasetIndex:
    """Return the index of the dataset called ``name``.

    A folder that has the layout of another dataset is reported as a problem of the index, because the other reader may
    know patients and masks that this one does not. Raises ``DataError``, which also names the other layout.
    """
    with naming_layout(name, root):
        index = dataset.index(root, cache)
    known = known_layout(root) if name == "image_folder" else None
    if known is None:
        return index
    detail = (
        f"this folder has the layout of {known}, whose reader knows its patients, classes and masks: use "
        f"dataset.name={known} unless you want {name}"
    )
    return replace(index, problems=(DataProblem(str(root), "known_layout", detail), *index.problems))


@contextmanager
def naming_layout(name: str, root: Path | None) -> Iterator[None]:
    """Add to a ``DataError`` which other dataset's layout the folder has, if any."""
    try:
        yield
    except DataError as e:
        known = known_layout(root)
        if known in (None, name):
            raise
        raise DataError(f"{e}\nThis folder has the layout of {known}: use dataset.name={known}, or its suites.") from e
