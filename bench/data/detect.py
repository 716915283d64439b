"""Which registered layout a folder of images has."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from bench.data.breakhis import find_breast_folder
from bench.data.busi import find_busi_folder
from bench.data.ihc import find_ihc_folder
from bench.data.isic9 import find_train_folder
from bench.errors import DataError

LAYOUTS: dict[str, Callable[[Path | None], Path]] = {
    "breakhis": find_breast_folder,
    "busi": find_busi_folder,
    "isic9": find_train_folder,
    "ihc": find_ihc_folder,
}


def detect(root: Path) -> str:
    """Return the dataset whose layout ``root`` has; ``image_folder``, one folder a class, where none of them fits.

    Raises ``DataError`` when there is no such folder.
    """
    if not root.is_dir():
        raise DataError(f"there is no folder {root}; name a folder of images, as argument, with --data or BENCH_DATA")
    for name, find in LAYOUTS.items():
        try:
            find(root)
        except DataError:
            continue
        return name
    return "image_folder"
