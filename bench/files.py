"""Files that are whole or not there."""

from __future__ import annotations

import fcntl
import os
import secrets
from pathlib import Path


def write_atomic(path: Path, text: str) -> None:
    """Replace a text file in one step and wait until it is on disk: a reader sees the old one or the new."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    with temporary.open("x", encoding="utf-8") as f:  # permissions by the umask, which mkstemp does not respect
        f.write(text)
        f.flush()
        os.fsync(f.fileno())
    os.replace(temporary, path)


def append_lines(path: Path, text: str) -> None:
    """Add whole lines at the end of a file and wait until they are on disk; a torn last line is closed first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab+") as f:
        fcntl.flock(f, fcntl.LOCK_EX)  # several threads or processes: one after the other
        f.seek(0, os.SEEK_END)
        if f.tell() > 0:
            f.seek(-1, os.SEEK_END)
            if f.read(1) != b"\n":
                text = "\n" + text
        f.write(text.encode())
        f.flush()
        os.fsync(f.fileno())
