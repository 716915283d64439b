"""Detection of a disk that cannot be written, so that it is not recorded as the failure of a cell."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from bench.errors import DiskError
from bench.files import write_atomic

FULL = {errno.ENOSPC, errno.EDQUOT}
READ_ONLY = {errno.EROFS}
FORBIDDEN = {errno.EACCES, errno.EPERM}
LEAST_FREE_BYTES = 2**20  # with less free space, a failed write is attributed to a full disk


def disk_error(error: BaseException, out: Path | None = None) -> DiskError | None:
    """Return a ``DiskError`` if the error, or one in its chain, was caused by the disk; else None.

    ``out`` is the output folder. If given, missing permission counts only inside it, and any error counts if its disk
    is full, because libraries raise various errors for a failed write.
    """
    if isinstance(error, DiskError):
        return error
    for e in _chain(error):
        if not isinstance(e, OSError):
            continue
        path = Path(os.fsdecode(e.filename)) if isinstance(e.filename, str | bytes) else out
        if e.errno in FULL:
            return _full(path)
        if e.errno in READ_ONLY or (e.errno in FORBIDDEN and path and (out is None or path.is_relative_to(out))):
            return _unwritable(path, e)
    if out is not None and not has_space(out):
        return _full(out)
    return None


def has_space(folder: Path) -> bool:
    """Return whether the disk of a folder (or of its nearest existing parent) has space left."""
    return (free_bytes(folder) or LEAST_FREE_BYTES) >= LEAST_FREE_BYTES


def free_bytes(folder: Path) -> int | None:
    """Return the free space of a folder's disk in bytes; None if unknown."""
    folder = next((p for p in (folder, *folder.absolute().parents) if p.exists()), folder)
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None


def require_space(out: Path) -> None:
    """Raise ``DiskError`` if the disk of the output folder is full."""
    if not has_space(out):
        raise _full(out)


def cache_folder(out: Path) -> Path:
    """Return the folder of caches: ``<out>/cache``, or the user's own one as long as ``out`` does not exist.

    A command that only shows something therefore creates no output folder.
    """
    return out / "cache" if out.is_dir() else user_cache()


def user_cache() -> Path:
    """Return the user's folder of caches, which belong to no output folder."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "augbench"


def write_cache(path: Path, text: str) -> None:
    """Replace a cache file atomically; a disk that cannot be written is not an error."""
    with suppress(OSError):
        write_atomic(path, text)


def reserve(path: Path) -> None:
    """Allocate the space of a sparse file, so that writes to its memory map cannot end the process by SIGBUS.

    Raises ``OSError`` (ENOSPC) if the disk is full.
    """
    if not hasattr(os, "posix_fallocate"):  # neither Linux nor FreeBSD
        return
    with path.open("rb+") as f:
        try:
            os.posix_fallocate(f.fileno(), 0, os.fstat(f.fileno()).st_size)
        except OSError as e:
            if e.errno not in (errno.EINVAL, errno.EOPNOTSUPP):  # a file system that cannot reserve
                raise OSError(e.errno, e.strerror, str(path)) from None


def _full(path: Path | None) -> DiskError:
    free = free_bytes(path) if path else None
    left = f" ({free / 2**20:.1f} MiB left)" if free is not None else ""
    return DiskError(
        f"{path or 'the disk'}: no space left on the device{left}, or a quota is exceeded; finished cells are kept: "
        "free some space and run the same command again, or use an --out folder on another disk"
    )


def _unwritable(path: Path | None, error: OSError) -> DiskError:
    return DiskError(
        f"{path or 'the disk'} cannot be written ({error.strerror}); make it writable, or copy the output folder to a "
        "writable disk and give the copy with --out"
    )


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and the errors in its chain (``__cause__``, ``__context__``)."""
    seen: set[int] = set()
    e: BaseException | None = error
    while e is not None and id(e) not in seen:
        seen.add(id(e))
        yield e
        e = e.__cause__ or e.__context__
