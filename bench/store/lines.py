"""JSON Lines files that several processes append to; a damaged line does not make the file unreadable."""

from __future__ import annotations

import fcntl
import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Timer
from typing import Any, BinaryIO, Generic, TypeVar

from bench.files import write_atomic
from bench.store.json_parser import parse_json

TELL_S = 10.0  # waiting time for another process before a message is printed
T = TypeVar("T")
_NAMED: set[tuple[Path, str]] = set()  # messages about unreadable lines, printed once per process


@dataclass(frozen=True)
class BadLine:
    """A line that was skipped: its number from 1, its bytes, and the reason."""

    number: int
    content: bytes
    reason: str


class JsonLines(Generic[T]):
    """The objects of a file, decoded by ``decode``.

    ``decode`` takes the object of a line and raises ``ValueError``, ``KeyError`` or ``TypeError`` if it is invalid.
    """

    def __init__(self, path: Path, decode: Callable[[Mapping[str, Any]], T]) -> None:
        self.path, self._decode = path, decode

    def append(self, objects: Iterable[Mapping[str, Any]]) -> None:
        """Append objects and wait until they are on disk; an incomplete last line of a killed process is ended."""
        text = "".join(json.dumps(o, sort_keys=True) + "\n" for o in objects)
        if text:
            with locked(self.path) as f:
                end = b"" if ends_whole(f) else b"\n"
                f.write(end + text.encode())
                f.flush()
                os.fsync(f.fileno())

    def read(self, remedy: str = "") -> list[T]:
        """Return the objects of the lines, in order.

        Unreadable lines are skipped. Their number and the reasons are printed to standard error once per process, with
        the ``remedy``.
        """
        found, bad = self.scan()
        if bad:
            reasons = Counter(line.reason for line in bad)
            why = ", ".join(f"{n} {reason}" if len(reasons) > 1 else reason for reason, n in reasons.items())
            lines = f"line{'s' if len(bad) > 1 else ''} {', '.join(str(line.number) for line in bad[:5])}"
            more = ", …" if len(bad) > 5 else ""
            text = f"{self.path}: {len(bad)} skipped ({lines}{more}): {why}{'; ' if remedy else ''}{remedy}"
            if (self.path, text) not in _NAMED:
                _NAMED.add((self.path, text))
                print(text, file=sys.stderr)
        return found

    def scan(self) -> tuple[list[T], list[BadLine]]:
        """Return the objects of the lines, and the unreadable lines."""
        found, bad = [], []
        for number, line in enumerate(_lines(self.path), 1):
            if not line.strip():
                continue
            try:
                found.append(self._decode(_object(line)))
            except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as e:
                bad.append(BadLine(number, line, _reason(e)))
        return found, bad

    def heal(self) -> int:
        """Move unreadable lines to ``<name>.damaged`` in the same folder; return their number."""
        if not self.scan()[1]:
            return 0
        with locked(self.path):
            bad = self.scan()[1]
            numbers = {line.number for line in bad}
            kept = [line for number, line in enumerate(_lines(self.path), 1) if number not in numbers]
            aside = self.path.with_name(f"{self.path.name}.damaged")
            before = aside.read_bytes() if aside.is_file() else b""
            write_atomic(aside, before + b"".join(line.content.rstrip(b"\n") + b"\n" for line in bad))
            write_atomic(self.path, b"".join(line.rstrip(b"\n") + b"\n" for line in kept))
        return len(bad)


@contextmanager
def locked(path: Path) -> Iterator[BinaryIO]:
    """Yield a file opened for appending and reading, locked against other processes; it is created if missing.

    The kernel releases the lock when the process ends.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with path.open("ab+") as f:
            _lock(f, path)
            if not _is_at(path, f):  # another process has replaced the file by a repaired one
                continue
            yield f
            return


def _lock(f: BinaryIO, path: Path) -> None:
    """Wait for the lock; print a message if it takes long (a stopped process, or a network file system)."""
    try:
        fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return
    except BlockingIOError:
        message = Timer(TELL_S, lambda: print(f"waiting for {path}: locked by another process", file=sys.stderr))
    message.daemon = True
    message.start()
    try:
        fcntl.flock(f, fcntl.LOCK_EX)
    finally:
        message.cancel()


def ends_whole(f: BinaryIO) -> bool:
    """Return whether an open file is empty or ends with a complete line."""
    if f.seek(0, os.SEEK_END) == 0:
        return True
    f.seek(-1, os.SEEK_END)
    return f.read(1) == b"\n"


def _is_at(path: Path, f: BinaryIO) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(f.fileno()))
    except OSError:
        return False


def _lines(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as f:
            yield from f
    except FileNotFoundError:
        return


def _object(line: bytes) -> Mapping[str, Any]:
    try:
        found = parse_json(line)
    except ValueError:
        found = json.loads(line)  # its errors say whether the bytes are text
    if not isinstance(found, dict):
        raise TypeError(f"{type(found).__name__} instead of an object")
    return found


def _reason(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "not UTF-8"
    if isinstance(error, json.JSONDecodeError):
        return "incomplete or invalid JSON"
    if isinstance(error, KeyError):
        return f"without {error.args[0]!r}"
    return str(error)
