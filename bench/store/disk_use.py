"""The disk space of an output folder by part, and removal of cells and caches."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from bench.files import files_below
from bench.store.cell_folders import Artifacts, CellId

CACHE, CELLS = "cache", "cells"


@dataclass(frozen=True)
class Item:
    """Something that can be removed: the files of one cell, or one file of the cache (``cell`` is None)."""

    paths: tuple[Path, ...]
    size_bytes: int
    changed_s: float  # time of the last change, in s since 1970
    cell: CellId | None = None
    finished: bool = False


def cells_on_disk(out: Path) -> list[Item]:
    """Return every cell with files in ``out``, also unfinished and failed ones."""
    found: dict[CellId, list[Path]] = {}
    for path in sorted((out / CELLS).glob("*/*")):
        found.setdefault((path.parent.name, path.name.partition(".")[0]), []).append(path)
    return [_item(paths, cell, any(p.name == cell[1] for p in paths)) for cell, paths in found.items()]


def cache_on_disk(out: Path) -> list[Item]:
    """Return the files of the caches in ``out``; they are computed again when they are needed."""
    return [_item([path]) for path in files_below(out / CACHE)]


def parts_on_disk(out: Path) -> dict[str, int]:
    """Return the size in bytes of each file and folder of ``out``, largest first."""
    sizes = {path.name: _size(path) for path in sorted(out.iterdir())}
    return dict(sorted(sizes.items(), key=lambda entry: -entry[1]))


def remove(out: Path, items: Iterable[Item]) -> int:
    """Delete the items and return the freed bytes; a cell that a process runs now is left out.

    A cell's folder is renamed before it is deleted, so that an interruption leaves no damaged cell.
    """
    artifacts, freed = Artifacts(out), 0
    for item in items:
        if item.cell and artifacts.is_claimed(*item.cell):
            continue
        for path in item.paths:
            removed = path.with_name(f".removed-{secrets.token_hex(8)}")
            os.replace(path, removed)
            shutil.rmtree(removed) if removed.is_dir() else removed.unlink()
        freed += item.size_bytes
    return freed


def _item(paths: list[Path], cell: CellId | None = None, finished: bool = False) -> Item:
    changed_s = max(path.stat().st_mtime for path in paths)
    return Item(tuple(paths), sum(map(_size, paths)), changed_s, cell, finished)


def _size(path: Path) -> int:
    return sum(p.lstat().st_size for p in files_below(path)) if path.is_dir() else path.lstat().st_size
