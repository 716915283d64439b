"""Content-addressed folders: a cell's result appears at its address whole, or not at all.

``<out>/cells/<stage>/<key>/``           finished: holds ``done.json``; put there by one atomic rename
``<out>/cells/<stage>/<key>.partial/``   in work: checkpoint, history and progress survive an interruption
``<out>/cells/<stage>/<key>.failed.json``  the last failure, with its traceback; removed by a later success
``<out>/cells/<stage>/<key>.lock``       held while a process works on it, released by the kernel however it ends
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.errors import StoreError
from bench.files import write_atomic


class Artifacts:
    """The folders of one output directory's cells."""

    def __init__(self, out: Path) -> None:
        self.root = out / "cells"

    def folder(self, stage: str, key: str) -> Path:
        """Return where the finished cell lies, or will lie."""
        return self.root / stage / key

    def partial(self, stage: str, key: str) -> Path:
        """Return where the cell is worked on."""
        return self.root / stage / f"{key}.partial"

    def is_done(self, stage: str, key: str) -> bool:
        """Return whether the cell is finished."""
        return (self.folder(stage, key) / "done.json").is_file()

    def result(self, stage: str, key: str) -> dict[str, Any]:
        """Return what the finished cell recorded. Raises ``StoreError`` when its marker is damaged."""
        path = self.folder(stage, key) / "done.json"
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as e:
            raise StoreError(f"{path}: cannot be read ({e}); delete the folder {path.parent} to redo the cell") from e

    def commit(self, stage: str, key: str, result: Mapping[str, Any]) -> Path:
        """Turn the partial folder into the finished one; ``result`` goes to ``done.json``."""
        partial, final = self.partial(stage, key), self.folder(stage, key)
        for leftover in ("checkpoint.pt", "progress.json"):
            (partial / leftover).unlink(missing_ok=True)
        write_atomic(partial / "done.json", json.dumps(result, indent=1, sort_keys=True))
        if final.exists():  # only a damaged one can be here: the caller holds the lock and saw it was not done
            shutil.rmtree(final)
        os.replace(partial, final)
        self._failed(stage, key).unlink(missing_ok=True)
        return final

    def adopt(self, stage: str, key: str, folder: Path) -> bool:
        """Move a finished cell's folder, made elsewhere on this disk, to its address; False where one is finished."""
        with self.work(stage, key) as partial:
            shutil.rmtree(partial)  # an attempt of this store's own, which nobody needs to continue now
            if self.is_done(stage, key):
                return False
            final = self.folder(stage, key)
            if final.exists():
                shutil.rmtree(final)
            os.replace(folder, final)
            self._failed(stage, key).unlink(missing_ok=True)
        return True

    def fail(self, stage: str, key: str, error: str) -> None:
        """Record a failure. The partial folder stays, so that a retry continues from its last checkpoint."""
        path = self._failed(stage, key)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, json.dumps({"error": error}, indent=1))

    def progress(self, stage: str, key: str) -> dict[str, Any] | None:
        """Return the last progress of a cell in work, or None."""
        try:
            return json.loads((self.partial(stage, key) / "progress.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None

    def is_locked(self, stage: str, key: str) -> bool:
        """Return whether some process works on the cell right now."""
        path = self._lock(stage, key)
        if not path.exists():
            return False
        with path.open() as f:
            try:
                fcntl.flock(f, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    @contextmanager
    def work(self, stage: str, key: str) -> Iterator[Path]:
        """Hold the cell's lock (waiting for another process that works on it) and yield its partial folder."""
        partial = self.partial(stage, key)
        partial.parent.mkdir(parents=True, exist_ok=True)
        with self._lock(stage, key).open("w") as f:
            fcntl.flock(f, fcntl.LOCK_EX)
            partial.mkdir(exist_ok=True)
            yield partial

    def _failed(self, stage: str, key: str) -> Path:
        return self.root / stage / f"{key}.failed.json"

    def _lock(self, stage: str, key: str) -> Path:
        return self.root / stage / f"{key}.lock"
