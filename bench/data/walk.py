"""The files below a data set's folder: pictures, and all other files counted by kind."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Collection, Iterator
from pathlib import Path

from bench.types import SkippedFiles

PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif", ".webp", ".dcm", ".dicom")
CHECKPOINTS, SYSTEM = ".ipynb_checkpoints", ("__MACOSX", "__pycache__", "$RECYCLE.BIN")
HIDDEN, BROKEN, LOOP = "hidden files", "broken links", "links to a folder that they lie in"


class Walk:
    """Files below folders of ``root``. Paths are POSIX and relative to it; links are followed, each path once."""

    def __init__(self, root: Path, extensions: Collection[str] = PICTURES) -> None:
        self.root, self._extensions = root, tuple(e.lower() for e in extensions)
        self._skipped: defaultdict[str, list[str]] = defaultdict(list)

    def pictures(self, folder: str = "") -> list[str]:
        """Return the files below a folder of the root that have a picture's extension (in any case), sorted."""
        found = []
        for path, kind in self._files(self.root / folder, self._above(folder)):
            if kind:
                self._skipped[kind].append(path)
            elif path.lower().endswith(self._extensions):
                found.append(path)
            else:
                self._skipped[f"{os.path.splitext(path)[1].lower() or 'extensionless'} files"].append(path)
        return sorted(found)

    def leave(self, folders: Collection[str], inside: str = "") -> None:
        """Count the files below the folder ``inside`` that are in none of its ``folders``, those of the classes."""
        here = self.root / inside
        for entry in sorted(_entries(here) or (), key=lambda e: e.name):
            if entry.name in folders:
                continue
            for path, kind in self._below(entry, (*self._above(inside), _identity(here)), ""):
                self._skipped[kind or "files outside the class folders"].append(path)

    @property
    def skipped(self) -> tuple[SkippedFiles, ...]:
        """The files that are not pictures, the most frequent kind first."""
        kinds = sorted(self._skipped.items(), key=lambda item: (-len(item[1]), item[0]))
        return tuple(SkippedFiles(kind, len(paths), min(paths)) for kind, paths in kinds)

    def _above(self, folder: str) -> tuple[tuple[int, int], ...]:
        """Return the identities of the folders from the root down to a folder of it, without that folder."""
        parents = [p for p in (self.root / folder).parents if p.is_relative_to(self.root) and p.is_dir()]
        return tuple(map(_identity, parents))

    def _files(self, folder: Path, above: tuple[tuple[int, int], ...], kind: str = "") -> Iterator[tuple[str, str]]:
        """Yield the path of every file, and the reason why it is not part of the set; '' if it may be."""
        entries = _entries(folder)
        if entries is None:
            yield self._relative(folder), "folders that cannot be read"
            return
        kind = kind or _folder_kind(folder.name if folder != self.root else "")
        above = (*above, _identity(folder))
        for entry in entries:
            yield from self._below(entry, above, kind)

    def _below(
        self, entry: os.DirEntry[str], above: tuple[tuple[int, int], ...], kind: str
    ) -> Iterator[tuple[str, str]]:
        """Yield what ``_files`` yields for one entry of a folder; ``above`` are that folder and those it lies in."""
        if not entry.is_dir():
            path, own = self._file(entry)
            yield path, kind or own
        elif entry.is_symlink() and _identity(entry.path) in above:
            yield self._relative(Path(entry.path)), LOOP
        else:
            yield from self._files(Path(entry.path), above, kind)

    def _file(self, entry: os.DirEntry[str]) -> tuple[str, str]:
        kind = HIDDEN if entry.name.startswith(".") else ""
        if not entry.is_file():
            kind = BROKEN if entry.is_symlink() else "special files (pipes, sockets, devices)"
        return self._relative(Path(entry.path)), kind

    def _relative(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()


def is_loop(path: Path) -> bool:
    """Return whether a path is a link to a folder that it lies in."""
    if not path.is_symlink():
        return False
    here = path.parent.resolve()
    return path.resolve() in (here, *here.parents)


def _identity(folder: Path | str) -> tuple[int, int]:
    found = os.stat(folder)
    return found.st_dev, found.st_ino


def _folder_kind(name: str) -> str:
    if name == CHECKPOINTS:
        return f"files in {CHECKPOINTS}"
    if name in SYSTEM:
        return f"files in {name}"
    return "files in hidden folders" if name.startswith(".") else ""


def _entries(folder: Path) -> list[os.DirEntry[str]] | None:
    """Return the entries of a folder; None if it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:
        return None
