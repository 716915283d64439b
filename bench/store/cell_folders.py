"""Content-addressed folders of cells. A result is committed by one atomic rename, and later changes are detected.

``<out>/cells/<stage>/<key>/``             finished: contains ``done.json``; created by one atomic rename
``<out>/cells/<stage>/<key>.partial/``     interrupted: checkpoint, history and progress
``<out>/cells/<stage>/<key>.partial-<id>/``  running: the same folder, renamed by the process that runs the cell
``<out>/cells/<stage>/<key>.claim``        states the process that runs the cell, and the id of its claim (``claims``)
``<out>/cells/<stage>/<key>.failed.json``  the last failure, with its traceback; removed by a later success
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

import errno
import json
import os
import secrets
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from bench.errors import StoreError
from bench.files import sha256_of, signature_of, sync_file, sync_tree, write_atomic
from bench.store.cell_records import checksum, content_hash, listing, read_done
from bench.store.json_parser import parse_json
from bench.store.unfinished_cells import TAKEN_OVER, CellId, ClaimLost, UnfinishedCells


class Artifacts(UnfinishedCells):
    """The folders of one output directory's cells. Each object checks a finished cell's files once."""

    def __init__(self, out: Path) -> None:
        super().__init__(out)
        self._last: tuple[CellId, dict[str, Any]] | None = None  # the done.json read last; all would fill the memory
        self._replaced: dict[CellId, frozenset[str]] = {}  # by complete done.json
        self._verified: set[CellId] = set()

    def is_done(self, stage: str, key: str) -> bool:
        """Return whether the cell is finished and undamaged (rules in the module's docstring)."""
        return self.damage(stage, key) is None and self.is_verified(stage, key)

    def is_verified(self, stage: str, key: str) -> bool:
        """Return whether this object has found the cell to be finished and undamaged."""
        return (stage, key) in self._verified

    def damage(self, stage: str, key: str) -> str | None:
        """Return the problem of a cell's folder: file, found and expected state. None if undamaged or missing."""
        try:
            if not self._is_unchanged(stage, key) and os.path.isdir(f"{self.root}/{stage}/{key}"):
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
            return content_hash(self._done(stage, key)["files"])
        except StoreError:
            return None

    def commit(self, stage: str, key: str, result: Mapping[str, Any], upstream: Iterable[CellId] = ()) -> Path:
        """Rename the partial folder to the finished one; ``result`` and its inputs are written to ``done.json``.

        All files are on disk before the rename. Raises ``ClaimLost`` if another process has taken the cell over.
        """
        self.require_claim(stage, key)
        partial, final = self.partial(stage, key), self.folder(stage, key)
        leftovers = [partial / name for name in ("checkpoint.pt", "progress.json", "done.json")]
        for path in (*leftovers, *partial.rglob(".*.tmp*")):  # temporary files of a killed attempt
            path.unlink(missing_ok=True)
        files = listing(partial)
        inputs = {f"{s}/{k}": content for s, k in upstream if (content := self.content(s, k))}
        known = self._checked(stage, key)
        replaced = {*known.get("replaced", ()), known.get("content")} - {None, content_hash(files)}
        done = json.loads(json.dumps({**result, "files": files, "inputs": inputs, "replaced": sorted(replaced)}))
        sync_tree(partial)
        text = json.dumps({**done, "checksum": checksum(done)}, indent=1, sort_keys=True)
        write_atomic(partial / "done.json", text)
        sync_file(partial)
        self.require_claim(stage, key)
        self._publish(stage, key, partial)
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
            self._publish(stage, key, folder)
            self._failed(stage, key).unlink(missing_ok=True)
        return True

    def _publish(self, stage: str, key: str, folder: Path) -> None:
        """Rename a complete folder to that of the finished cell; what is there is removed: it is damaged."""
        final = self.folder(stage, key)
        try:
            if final.exists():
                damaged = final.with_name(f".removed-{secrets.token_hex(8)}")
                os.rename(final, damaged)
                shutil.rmtree(damaged)
            os.rename(folder, final)
        except OSError as e:
            if e.errno in (errno.ENOENT, errno.EEXIST, errno.ENOTEMPTY):
                raise ClaimLost(f"{stage}/{key} {TAKEN_OVER}") from e
            raise

    def _done(self, stage: str, key: str) -> dict[str, Any]:
        if self._last is None or self._last[0] != (stage, key):
            self._last = (stage, key), read_done(self.folder(stage, key) / "done.json")
            self._replaced[stage, key] = frozenset(self._last[1]["replaced"])
        return self._last[1]

    def _is_unchanged(self, stage: str, key: str) -> bool:
        """Return whether the cell's files are those of its last verification; then ``done.json`` need not be read.

        Raises ``StoreError`` if the result is out of date.
        """
        if (stage, key) in self._verified:
            return True
        known = self._checked(stage, key)
        try:
            if known["files"] != signature_of(("done.json", *known["names"]), f"{self.root}/{stage}/{key}"):
                return False
            self._replaced[stage, key] = frozenset(known["replaced"])
            self._check_inputs(stage, key, known)
        except (OSError, KeyError, TypeError):  # a file is missing, or no verification is stored
            return False
        self._verified.add((stage, key))
        return True

    def _check_files(self, stage: str, key: str, done: Mapping[str, Any]) -> None:
        """Raise ``StoreError`` unless the folder's files are those that ``done.json`` lists."""
        folder, listed = self.folder(stage, key), done["files"]
        try:
            now = signature_of(("done.json", *sorted(listed)), folder)
        except OSError as e:
            raise StoreError(f"{e.filename} is listed in done.json but cannot be read: {e.strerror}") from e
        known = self._checked(stage, key)
        if known.get("files") == now and known.get("content") == content_hash(listed):
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
            with open(self._checked_path(stage, key), "rb") as f:
                found = parse_json(f.read())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def _remember(self, stage: str, key: str, done: Mapping[str, Any]) -> None:
        """Save the signatures of a cell's verified files; a read-only store is not an error."""
        folder, listed = self.folder(stage, key), done["files"]
        try:
            names = sorted(listed)
            known = {
                "files": signature_of(("done.json", *names), folder),
                "names": names,
                "content": content_hash(listed),
                "inputs": done["inputs"],
                "replaced": done["replaced"],
            }
            write_atomic(Path(self._checked_path(stage, key)), json.dumps(known))
        except OSError:
            pass

    def _checked_path(self, stage: str, key: str) -> str:
        return f"{self.root}/{stage}/{key}.checked.json"  # no Path: reports check tens of thousands of cells
