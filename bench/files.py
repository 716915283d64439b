"""Atomic writing of files, and checks that a file is unchanged."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

SYNC_THREADS = 16  # file systems write concurrent fsync calls to their journal in one batch


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of ``path``, with the same suffix, for the caller to write to.

    At the end of the block the file is synced and renamed atomically: a reader sees the old file or the new one.
    If the block raises, the old file stays and the temporary one is removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{secrets.token_hex(4)}.tmp{path.suffix}")
    try:
        yield temporary
        sync_file(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_atomic(path: Path, content: str | bytes) -> None:
    """Replace a file atomically and wait until it is on disk; a reader sees the old file or the new one."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


def sync_file(path: Path) -> None:
    """Wait until a file's content, or a folder's list of entries, is on disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_tree(folder: Path) -> None:
    """Wait until all files below a folder, and the folders themselves, are on disk."""
    folders = [folder, *(p for p in folder.rglob("*") if p.is_dir())]
    with ThreadPoolExecutor(SYNC_THREADS) as pool:
        list(pool.map(sync_file, files_below(folder)))
        list(pool.map(sync_file, folders))


def files_below(folder: Path) -> list[Path]:
    """Return the files below a folder, sorted."""
    return sorted(Path(at) / name for at, _, names in os.walk(folder) for name in names)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 (hex) of a file's content."""
    with path.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def signature(path: Path | str) -> tuple[int, int, int, int]:
    """Return (size, mtime, ctime, inode), times in ns.

    Files with the same signature have the same content. A program can reset mtime but not ctime, so an edit that keeps
    size and mtime is detected. Raises ``OSError``.
    """
    stat = os.stat(path)
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino


def signature_of(names: Iterable[str], root: Path | str) -> str:
    """Return one hash (hex) of POSIX names relative to ``root`` and the signatures of files. Raises ``OSError``."""
    found = hashlib.sha256()
    for name in names:
        found.update(repr((name, signature(f"{root}/{name}"))).encode())
    return found.hexdigest()
