"""Cells that are not finished: which process runs them, their folders, progress and failures.

A process that runs a cell holds its claim, and renames the folder of the earlier attempt to one of its own. So a
process that lost its claim, because it was suspended for longer than its lease, can neither commit its result nor mix
its files with those of the new holder.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from bench.errors import BenchError
from bench.files import signature, write_atomic
from bench.store.claims import Claims
from bench.store.heartbeat import Heartbeat, Holder, seems_alive

POLL_S = 0.5  # interval of checks whether another process is done with a cell
TAKEN_OVER = "was taken over by another process, whose result is used"
CellId = tuple[str, str]  # stage and key


class CellBusy(BenchError):
    """Another process runs the cell."""


class ClaimLost(CellBusy):
    """Another process took the cell over, because this one was suspended for longer than its lease."""


class UnfinishedCells:
    """The unfinished cells of an output folder."""

    def __init__(self, out: Path) -> None:
        self.out, self.root = out, out / "cells"
        self._claims = Claims(out)
        self._held: dict[CellId, tuple[Path, str]] = {}  # partial folder and claim of each cell that this object holds

    def folder(self, stage: str, key: str) -> Path:
        """Return the folder of the finished cell."""
        return self.root / stage / key

    def partial(self, stage: str, key: str) -> Path:
        """Return the folder of an unfinished cell: that of the process which runs it, or the interrupted one."""
        if (stage, key) in self._held:
            return self._held[stage, key][0]
        holders = self._claims.holders(self._claim(stage, key))
        return self._partial(stage, key, holders[-1].id if holders else "")

    def fail(self, stage: str, key: str, error: str) -> None:
        """Record a failure. The partial folder is kept, so that a retry continues from its last checkpoint."""
        path = self._failed(stage, key)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, json.dumps({"error": error}, indent=1))

    def progress(self, stage: str, key: str) -> dict[str, Any] | None:
        """Return the last progress of a running cell, or None."""
        try:
            return json.loads((self.partial(stage, key) / "progress.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None

    def failure(self, stage: str, key: str) -> tuple[str, object] | None:
        """Return the last failure of a cell, with a value that changes with each new one; None without one."""
        path = self._failed(stage, key)
        try:
            return str(json.loads(path.read_text(encoding="utf-8"))["error"]), signature(path)
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def forget_failure(self, stage: str, key: str) -> None:
        """Remove the record of a cell's failure, before it is run again by workers that retry none."""
        self._failed(stage, key).unlink(missing_ok=True)

    def is_claimed(self, stage: str, key: str) -> bool:
        """Return whether a living process runs the cell now, as far as one look can tell."""
        holders = self._claims.holders(self._claim(stage, key))
        return bool(holders) and seems_alive(self.out, holders[-1])

    def free(self, stage: str, key: str) -> bool:
        """Return whether no process runs the cell. A claim whose holder has died is removed.

        Repeated calls of the same object notice the death of a process on another machine (``heartbeat``).
        """
        claim = self._claim(stage, key)
        if not self._claims.holders(claim):
            return True
        if not self._claims.can_take(claim):
            return False
        try:
            with self.work(stage, key, wait=False):
                return True
        except CellBusy:
            return False

    def holder(self, stage: str, key: str) -> str:
        """Return which process has claimed the cell: 'process 12 on host'; '' for none."""
        holders = self._claims.holders(self._claim(stage, key))
        return f"process {holders[-1].pid} on {holders[-1].host}" if holders else ""

    @contextmanager
    def work(self, stage: str, key: str, wait: bool = True) -> Iterator[Path]:
        """Claim the cell and yield its partial folder; with ``wait`` after another process that runs it.

        Raises ``CellBusy`` without ``wait``, ``ClaimLost`` if another process has taken the cell over meanwhile.
        """
        (self.root / stage).mkdir(parents=True, exist_ok=True)
        holder, claim = Holder.here(), self._claim(stage, key)
        with Heartbeat(self.out, holder, {"cell": f"{stage}/{key}"}):
            while (earlier := self._claims.take(claim, holder)) is None:
                if not wait:
                    raise CellBusy(f"{stage}/{key} is run by {self.holder(stage, key) or 'another process'}")
                time.sleep(POLL_S)
            partial = self._partial(stage, key, holder.id)
            try:
                self._open_partial(stage, key, partial, [h.id for h in earlier])
                self._held[stage, key] = (partial, holder.id)
                yield partial
            finally:
                self._held.pop((stage, key), None)
                self._close_partial(stage, key, partial)
                self._claims.release(claim, holder)

    def require_claim(self, stage: str, key: str) -> None:
        """Raise ``ClaimLost`` if this object had claimed the cell, and another process has taken it over."""
        if (stage, key) in self._held:
            holders = self._claims.holders(self._claim(stage, key))
            if not holders or holders[-1].id != self._held[stage, key][1]:
                raise ClaimLost(f"{stage}/{key} {TAKEN_OVER}")

    def _open_partial(self, stage: str, key: str, mine: Path, earlier: Iterable[str]) -> None:
        """Make the folder of an earlier attempt this process's own, or create an empty one."""
        for attempt in (*reversed(list(earlier)), ""):
            with suppress(FileNotFoundError):
                os.rename(self._partial(stage, key, attempt), mine)
                return
        mine.mkdir()

    def _close_partial(self, stage: str, key: str, mine: Path) -> None:
        """Keep the folder of an unfinished attempt for the next process; an empty one is removed."""
        kept = self._partial(stage, key, "")
        with suppress(FileNotFoundError):  # committed, or taken over
            if not any(mine.iterdir()):
                mine.rmdir()
                return
            if kept.exists():
                shutil.rmtree(kept)
            os.rename(mine, kept)

    def _failed(self, stage: str, key: str) -> Path:
        return self.root / stage / f"{key}.failed.json"

    def _claim(self, stage: str, key: str) -> Path:
        return self.root / stage / f"{key}.claim"

    def _partial(self, stage: str, key: str, holder_id: str) -> Path:
        """Return the folder of an unfinished attempt: of a claim, or ('') the interrupted one."""
        return self.root / stage / (f"{key}.partial-{holder_id}" if holder_id else f"{key}.partial")
