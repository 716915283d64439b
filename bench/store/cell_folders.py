"""Content-addressed folders of cells. A result is committed by one atomic rename, and later changes are detected.

``<out>/cells/<stage>/<key>/``             finished: contains ``done.json``; created by one atomic rename
``<out>/cells/<stage>/<key>.partial/``     running: checkpoint, history and progress survive an interruption
``<out>/cells/<stage>/<key>.failed.json``  the last failure, with its traceback; removed by a later success
``<out>/cells/<stage>/<key>.lock``         locked while a process runs the cell; the kernel releases it at process end
``<out>/cells/<stage>/<key>.checked.json`` file signatures at the last verification of the contents

A cell is finished if

1. ``done.json`` is complete: its ``checksum`` matches the rest of it;
2. every file that it lists exists with the listed size and SHA-256. It lists every file of the folder. Files are
   hashed only if size, mtime, ctime or inode differ from ``checked.json``, so repeated checks cost one ``stat`` per
   file;
3. no result that it was made from has been replaced by a different one since: ``done.json`` records the content of its
   upstream cells (``inputs``) and the content that its own result replaced (``replaced``).

A folder that violates a rule is damaged. ``bench run`` runs the cell again, and then the cells that are out of date by
rule 3; if the new result has the same content, everything made from it is kept.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.errors import StoreError
from bench.files import files_below, sha256_of, signature_of, sync_file, sync_tree, write_atomic

NEEDED = ("metrics", "costs", "facts", "finished_at", "files", "inputs", "replaced")
VARYING = ("system.csv", "trace.json.gz")  # files that differ between runs of the same cell; not part of its content
CellId = tuple[str, str]  # stage and key
Listing = dict[str, dict[str, Any]]  # path relative to the folder -> {"bytes": n, "sha256": hex}


class Artifacts:
    """The folders of one output directory's cells. Each object checks a finished cell's files once."""

    def __init__(self, out: Path) -> None:
        self.root = out / "cells"
        self._last: tuple[CellId, dict[str, Any]] | None = None  # the done.json read last; all would fill the memory
        self._replaced: dict[CellId, frozenset[str]] = {}  # by complete done.json
        self._verified: set[CellId] = set()

    def folder(self, stage: str, key: str) -> Path:
        """Return the folder of the finished cell."""
        return self.root / stage / key

    def partial(self, stage: str, key: str) -> Path:
        """Return the folder used while the cell runs."""
        return self.root / stage / f"{key}.partial"

    def is_done(self, stage: str, key: str) -> bool:
        """Return whether the cell is finished and undamaged (rules in the module's docstring)."""
        return self.damage(stage, key) is None and (stage, key) in self._verified

    def damage(self, stage: str, key: str) -> str | None:
        """Return the problem of a cell's folder: file, found and expected state. None if undamaged or missing."""
        if (stage, key) in self._verified or not self.folder(stage, key).is_dir():
            return None
        try:
            self.result(stage, key)
        except StoreError as e:
            return str(e)
        return None

    def result(self, stage: str, key: str) -> dict[str, Any]:
        """Return the record of a finished cell. Raises ``StoreError`` if its folder is damaged or missing."""
        done = self._done(stage, key)
        if (stage, key) not in self._verified:
            self._check_files(stage, key, done)
            self._check_inputs(stage, key, done)
            self._verified.add((stage, key))
        return done

    def content(self, stage: str, key: str) -> str | None:
        """Return the hash of a finished cell's files, without those that vary from run to run.

        None if ``done.json`` is missing or damaged.
        """
        try:
            return _content(self._done(stage, key)["files"])
        except StoreError:
            return None

    def commit(self, stage: str, key: str, result: Mapping[str, Any], upstream: Iterable[CellId] = ()) -> Path:
        """Rename the partial folder to the finished one; ``result`` and its inputs are written to ``done.json``.

        All files are on disk before the rename.
        """
        partial, final = self.partial(stage, key), self.folder(stage, key)
        leftovers = [partial / name for name in ("checkpoint.pt", "progress.json", "done.json")]
        for path in (*leftovers, *partial.rglob(".*.tmp*")):  # temporary files of a killed attempt
            path.unlink(missing_ok=True)
        files = _listing(partial)
        inputs = {f"{s}/{k}": content for s, k in upstream if (content := self.content(s, k))}
        known = self._checked(stage, key)
        replaced = {*known.get("replaced", ()), known.get("content")} - {None, _content(files)}
        done = json.loads(json.dumps({**result, "files": files, "inputs": inputs, "replaced": sorted(replaced)}))
        sync_tree(partial)
        text = json.dumps({**done, "checksum": _checksum(done)}, indent=1, sort_keys=True)
        write_atomic(partial / "done.json", text)
        sync_file(partial)
        if final.exists():  # it is damaged: the caller has the lock and found that the cell is not done
            shutil.rmtree(final)
        os.replace(partial, final)
        sync_file(final.parent)
        self._last = None
        self._replaced.pop((stage, key), None)
        self._remember(stage, key, done)
        self._failed(stage, key).unlink(missing_ok=True)
        return final

    def adopt(self, stage: str, key: str, folder: Path) -> bool:
        """Move a finished cell's folder from elsewhere on this disk into the store; False if the cell is finished."""
        with self.work(stage, key) as partial:
            shutil.rmtree(partial)  # an unfinished attempt of this store, which is no longer needed
            if self.is_done(stage, key):
                return False
            final = self.folder(stage, key)
            if final.exists():
                shutil.rmtree(final)
            os.replace(folder, final)
            self._failed(stage, key).unlink(missing_ok=True)
        return True

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

    def is_locked(self, stage: str, key: str) -> bool:
        """Return whether a process is running the cell now."""
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
        """Lock the cell (waiting for another process that runs it) and yield its partial folder."""
        partial = self.partial(stage, key)
        partial.parent.mkdir(parents=True, exist_ok=True)
        with self._lock(stage, key).open("w") as f:
            fcntl.flock(f, fcntl.LOCK_EX)
            partial.mkdir(exist_ok=True)
            yield partial

    def _done(self, stage: str, key: str) -> dict[str, Any]:
        if self._last is None or self._last[0] != (stage, key):
            self._last = (stage, key), _read_done(self.folder(stage, key) / "done.json")
            self._replaced[stage, key] = frozenset(self._last[1]["replaced"])
        return self._last[1]

    def _check_files(self, stage: str, key: str, done: Mapping[str, Any]) -> None:
        """Raise ``StoreError`` unless the folder's files are those that ``done.json`` lists."""
        folder, listed = self.folder(stage, key), done["files"]
        try:
            now = signature_of(sorted(listed), folder)
        except OSError as e:
            raise StoreError(f"{e.filename} is listed in done.json but cannot be read: {e.strerror}") from e
        known = self._checked(stage, key)
        if known.get("files") == now and known.get("content") == _content(listed):
            return
        for name, wanted in listed.items():
            path = folder / name
            size = path.stat().st_size
            if size != wanted["bytes"]:
                raise StoreError(f"{path} was changed: {size} bytes, expected {wanted['bytes']}")
            if (found := sha256_of(path)) != wanted["sha256"]:
                raise StoreError(f"{path} was changed: SHA-256 {found[:12]}…, expected {wanted['sha256'][:12]}…")
        self._remember(stage, key, done)

    def _check_inputs(self, stage: str, key: str, done: Mapping[str, Any]) -> None:
        """Raise ``StoreError`` if a result that this one was made from has been replaced by a different one."""
        for name, content in done["inputs"].items():
            up_stage, up_key = name.split("/")
            if (up_stage, up_key) not in self._replaced:
                try:
                    self._done(up_stage, up_key)
                except StoreError:  # missing, or to be run again itself: it has not been replaced yet
                    continue
            if content in self._replaced[up_stage, up_key]:
                raise StoreError(
                    f"{self.folder(stage, key)} was made from an earlier result of {name}, which was replaced since"
                )

    def _checked(self, stage: str, key: str) -> dict[str, Any]:
        """Return the record of the last verification of a cell's files; {} if there is none."""
        try:
            found = json.loads(self._checked_path(stage, key).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def _remember(self, stage: str, key: str, done: Mapping[str, Any]) -> None:
        """Save the signatures of a cell's verified files; a read-only store is not an error."""
        folder, listed = self.folder(stage, key), done["files"]
        try:
            files = signature_of(sorted(listed), folder)
            known = {"files": files, "content": _content(listed), "replaced": done["replaced"]}
            write_atomic(self._checked_path(stage, key), json.dumps(known))
        except OSError:
            pass

    def _checked_path(self, stage: str, key: str) -> Path:
        return self.root / stage / f"{key}.checked.json"

    def _failed(self, stage: str, key: str) -> Path:
        return self.root / stage / f"{key}.failed.json"

    def _lock(self, stage: str, key: str) -> Path:
        return self.root / stage / f"{key}.lock"


def _read_done(path: Path) -> dict[str, Any]:
    """Return the content of a complete ``done.json``. Raises ``StoreError``."""
    try:
        done = json.loads(path.read_bytes())
    except FileNotFoundError as e:
        raise StoreError(f"{path} does not exist") from e
    except (OSError, ValueError) as e:
        raise StoreError(f"{path} cannot be read ({e})") from e
    if not isinstance(done, dict) or (lacking := [name for name in NEEDED if name not in done]):
        got = f"lacks {', '.join(lacking)}" if isinstance(done, dict) else f"contains a {type(done).__name__}"
        raise StoreError(f"{path} {got}; expected an object with {', '.join(NEEDED)}")
    if done.pop("checksum", None) != _checksum(done):
        raise StoreError(f"{path} was changed: its checksum does not match its content")
    return done


def _listing(folder: Path) -> Listing:
    """Return every file below a folder with its size and SHA-256."""
    return {
        path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "sha256": sha256_of(path)}
        for path in files_below(folder)
    }


def _content(listed: Listing) -> str:
    """Return a hash (hex) of the listed files, without those that vary from run to run."""
    parts = sorted(f"{name} {f['sha256']}" for name, f in listed.items() if name not in VARYING)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _checksum(done: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(done, sort_keys=True).encode()).hexdigest()
