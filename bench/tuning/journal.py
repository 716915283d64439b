"""An Optuna journal that heals: one operation a line, appended by several processes under a lock of the kernel.

Optuna's own backend locks by a file that a killed process leaves behind, appends to a torn last line, and refuses a
journal for one damaged line. Here the kernel releases the lock however a process ends; a torn last line, which no
process has acted on, is cut off by the next append; and what follows a damaged line is moved aside when the study is
opened, since the trials before it are a whole study. Trials after it are drawn again, and find their finished cells.
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
    """The journal file at ``path``, made if absent. Log n is the file's line n, from 0."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._starts = [0]  # where each line begins that was read so far, and the next one
        with locked(path) as f:
            self._heal(f)

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        """Yield the operations from a number on; a last line that is not whole is not read."""
        with self.path.open("rb") as f:
            if os.fstat(f.fileno()).st_size < self._starts[log_number_from]:
                raise StoreError(f"{self.path} was cut while it was in use; give the same command again")
            f.seek(self._starts[log_number_from])
            for number, line in enumerate(f, log_number_from):
                if not line.endswith(b"\n"):
                    return
                log = _operation(line)
                if log is None:
                    raise StoreError(
                        f"{self.path}, line {number + 1}: got {line[:40]!r}, expected an operation of a study; "
                        "give the same command again: it heals the journal"
                    )
                if number + 1 == len(self._starts):
                    self._starts.append(self._starts[number] + len(line))
                yield log

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Add operations at the end and wait until they are on disk: all of them, or none where that fails."""
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
                    f"were moved to {aside.name}. Their trials are drawn again, and find the cells that are finished",
                    file=sys.stderr,
                )
                return
            size += len(line)


def _cut_torn_line(f: BinaryIO) -> None:
    if not ends_whole(f):
        f.seek(0)
        f.truncate(f.read().rfind(b"\n") + 1)


def _operation(line: bytes) -> dict[str, Any] | None:
    """Return the operation of a line, None where it is none."""
    try:
        log = json.loads(line)
    except (ValueError, RecursionError):
        return None
    known = isinstance(log, dict) and isinstance(log.get("op_code"), int) and isinstance(log.get("worker_id"), str)
    return log if known else None
