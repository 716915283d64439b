"""MLflow as a view of the results store. The store is authoritative: missing runs can be logged again from it.

One experiment per suite; one parent run per suite and config; below it one nested run per *unit* of work:

``<method>/fold<f>/repeat<r>``                          a generator: fit, synthesize, fidelity and translate
``<method>/r<ratio>/<classifier>/fold<f>/repeat<r>``    a classifier: classify, evaluate, explain
``<method>/r<ratio>/<segmentation network>/fold<f>/repeat<r>``     a segmentation network of an arm: segmentation
``segmentation/fold<f>/repeat<r>``                      the FCN score network: segment

A unit's run is extended as its stages finish. The tag ``bench.rows``, written last, lists its rows with a hash of each
one's content. A run without this tag was interrupted and is replaced. A run is also replaced if a row has changed (such
as a failed cell that is now done) or its files are missing. ``bench.complete`` does the same for the suite's run.
"""

from __future__ import annotations

import math
import queue
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bench.store.redact import redact
from bench.tracking.rows import unit_name
from bench.tracking.store import tracking_uri
from bench.tracking.writer import Tracker
from bench.types import ResultRow

__all__ = ["Tracker", "TrackingThread", "tracking_uri", "ui_command", "ui_environment"]


def ui_command(port: int = 5000) -> list[str]:
    """Return the command that serves the MLflow UI at http://127.0.0.1:``port``, with ``ui_environment``."""
    return [sys.executable, "-m", "mlflow", "ui", "--host", "127.0.0.1", "--port", f"{port}"]


def ui_environment(out: Path, uri: str | None = None) -> dict[str, str]:
    """Return the environment variables with the store of ``ui_command``; command lines are visible to all users."""
    return {
        "MLFLOW_BACKEND_STORE_URI": tracking_uri(out, uri),
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }


class TrackingThread:
    """Runs a ``Tracker`` in the background, so that problems of MLflow do not delay or stop a run.

    A daemon thread: it ends with the process; rows that are not logged by then are logged by ``bench mlflow sync`` or
    the next run. After a failure it waits ``RETRY_S`` before the next attempt.
    """

    RETRY_S: Final = 30.0

    def __init__(self, tracker: Tracker) -> None:
        self._tracker = tracker
        self._queue: queue.Queue[ResultRow | Path | None] = queue.Queue()
        self._pending: dict[str, ResultRow] = {}  # by row key; not logged yet
        self._report: Path | None = None
        self._state = ""
        self._error: str | None = None
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._work, name="mlflow", daemon=True)
        self._thread.start()

    def submit(self, row: ResultRow) -> None:
        """Queue a finished, failed or skipped row. Returns at once and never raises."""
        if unit_name(row) is not None:
            with self._lock:
                self._pending[row.key] = row
            self._queue.put(row)

    def report(self, folder: Path, state: str = "") -> None:
        """Queue the report folder, to be attached to the suite's run after the rows; then mark ``state`` as logged."""
        self._state = state
        self._queue.put(folder)

    @property
    def did(self) -> str:
        """A summary of what was written; to be read after ``close``."""
        return self._tracker.summary()

    @property
    def notes(self) -> Sequence[str]:
        """Messages about repairs."""
        return self._tracker.notes

    def close(self, timeout_s: float = 30.0) -> str | None:
        """Wait for the remaining writes, at most ``timeout_s`` for each; return a warning about unwritten data or None.

        A slow server that makes progress is therefore waited for, one that does not answer is not.
        """
        self._queue.put(None)
        left, before = self._unwritten(), math.inf
        while self._thread.is_alive() and len(left) < before:
            before = len(left)
            self._thread.join(timeout_s)
            left = self._unwritten()
        if not left and self._error is None and not self._thread.is_alive():
            return None
        cause = self._error or f"nothing written within {timeout_s:g} s"
        what = f"{len(left)} cells not yet in MLflow" if left else "the report is not yet in MLflow"
        return f"{what}: {cause}; no results are lost, run `bench mlflow sync` to log them"

    def _unwritten(self) -> list[ResultRow]:
        with self._lock:
            return list(self._pending.values())

    def _work(self) -> None:
        open_for_more, retry_at = True, 0.0
        while open_for_more:
            items = [self._queue.get()]
            while not self._queue.empty():
                items.append(self._queue.get_nowait())
            open_for_more = None not in items
            self._report = next((i for i in reversed(items) if isinstance(i, Path)), self._report)
            if time.monotonic() < retry_at and (open_for_more or self._error):
                continue
            retry_at = 0.0 if self._flush() else time.monotonic() + self.RETRY_S
        self._tracker.close()

    def _flush(self) -> bool:
        """Try to write all pending rows; return whether it worked. One bad row does not block the others."""
        with self._lock:
            todo = list(self._pending.values())
        failures = 0
        try:
            self._tracker.connect(todo)
            for row in todo:
                try:
                    self._tracker.sync([row])
                except Exception as e:
                    failures, self._error = failures + 1, _one_line(e)
                    if failures == 3:
                        return False
                else:
                    self._drop(row)
            if self._report is not None:
                self._tracker.log_report(self._report)
                if self._state and not failures:
                    self._tracker.mark_synced(self._state)
                self._report = None
        except Exception as e:  # the run continues after any error of MLflow, its database or the network
            failures, self._error = failures + 1, _one_line(e)
        if not failures:
            self._error = None
        return not failures

    def _drop(self, row: ResultRow) -> None:
        with self._lock:
            if self._pending.get(row.key) is row:
                del self._pending[row.key]


def _one_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or ["no message"]
    return redact(f"{type(error).__name__}: {lines[0]}")[:300]
