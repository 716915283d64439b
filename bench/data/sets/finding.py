"""Finds the folder that holds a data set's layout, in the folder that the user gave or inside it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from bench.errors import DataError


def find_layout(
    root: Path | None, what: str, holds: Callable[[Path], bool], inside: Iterable[str], missing: str, where: str
) -> Path:
    """Return the first of ``root`` and its subfolders ``inside`` for which ``holds`` is true.

    ``what`` names the data set, ``missing`` says what was not found, and ``where`` are instructions. Raises
    ``DataError`` with the instructions if no folder was given, if it does not exist, or if nothing fits.
    """
    if root is None:
        raise DataError(f"the {what} images are needed, but no folder was given.\n{where}")
    if not root.is_dir():
        raise DataError(f"folder {root} does not exist.\n{where}")
    for candidate in (root, *(root / path for path in inside)):
        if candidate.is_dir() and holds(candidate):
            return candidate
    raise DataError(f"{root} does not hold {missing}.\n{where}")
