"""An Optuna journal that repairs itself: one operation per line, appended by several processes under a kernel lock.

Optuna's own backend uses a lock file that remains after a process is killed, appends to an incomplete last line, and
cannot read a journal with a damaged line. Here the kernel releases the lock when a process ends. An incomplete last
line, which no process has used, is removed by the next append. A damaged line and all lines after it are moved to
another file when the study is opened; the trials before it are a valid study. Later trials are sampled again and reuse
their finished cells.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from optuna.storages.journal import BaseJournalBackend

from bench.errors import StoreError
from bench.store.lines import ends_whole, locked


class Journal(BaseJournalBackend):
    """The journal file at ``path``, created if missing. Log n is the file's line n, from 0."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._starts = [0]  # byte offsets of the lines read so far, and of the next one
        with locked(path) as f:
            self._heal(f)

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        """Yield the operations from a number on; an incomplete last line is not read."""
        with self.path.open("rb") as f:
            if os.fstat(f.fileno()).st_size < self._starts[log_number_from]:
                raise StoreError(f"{self.path} was truncated while in use; run the same command again")
            f.seek(self._starts[log_number_from])
            for number, line in enumerate(f, log_number_from):
                if not line.endswith(b"\n"):
                    return
                log = _operation(line)
                if log is None:
                    raise StoreError(
                        f"{self.path}, line {number + 1}: got {line[:40]!r}, expected an operation of a study; "
                        "run the same command again: it repairs the journal"
                    )
                if number + 1 == len(self._starts):
                    self._starts.append(self._starts[number] + len(line))
                yield log

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append operations and wait until they are on disk; if this fails, none is appended."""
        text = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs)
        with locked(self.path) as f:
            _cut_torn_line(f)
            size = f.seek(0, os.SEEK_END)
            try:
                f.write(text.encode())
                f.flush()
                os.fsync(f.fileno())
            except OSError:
                os.truncate(self.path, size)
                raise

    def _heal(self, f: BinaryIO) -> None:
        _cut_torn_line(f)
        f.seek(0)
        size = 0
        for number, line in enumerate(f, 1):
            if _operation(line) is None:
                rest = line + f.read()
                aside = self.path.with_name(f"{self.path.name}.damaged")
                with aside.open("ab") as other:
                    other.write(rest)
                f.truncate(size)
                after = rest.count(b"\n") - 1
                print(
                    f"{self.path}, line {number}: cannot be read; it and the {after} lines after it "
                    f"were moved to {aside.name}. Their trials are sampled again and reuse their finished cells",
                    file=sys.stderr,
                )
                return
            size += len(line)


def _cut_torn_line(f: BinaryIO) -> None:
    if not ends_whole(f):
        f.seek(0)
        f.truncate(f.read().rfind(b"\n") + 1)


def _operation(line: bytes) -> dict[str, Any] | None:
    """Return the operation of a line, None if it is invalid."""
    try:
        log = json.loads(line)
    except (ValueError, RecursionError):
        return None
    known = isinstance(log, dict) and isinstance(log.get("op_code"), int) and isinstance(log.get("worker_id"), str)
    return log if known else None
