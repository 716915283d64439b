"""MLflow as a view of the results store. The store is the truth: whatever is missing here can be filled in from it.

One experiment per suite; one parent run per suite and config; below it one nested run per *unit* of work:

``<method>/fold<f>/repeat<r>``                          a generator: fit, synthesize, fidelity and translate
``<method>/r<ratio>/<classifier>/fold<f>/repeat<r>``    a classifier: classify, evaluate, explain
``<method>/r<ratio>/<segmenter>/fold<f>/repeat<r>``     a segmentation network of an arm: segmenter
``segmentation/fold<f>/repeat<r>``                      the network that judges translations: segment

A unit's run grows as its stages finish. The tag ``bench.rows``, written last, says which rows it holds, with a hash of
each one's content: a run that was cut off has none and is replaced, and so is one whose row has changed, such as a
failure since mended, or whose files are gone. ``bench.complete`` says the same of the suite's own run.
"""

from __future__ import annotations

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
    """Return the variables that say which store ``ui_command`` serves; its command line could be read by everyone."""
    return {
        "MLFLOW_BACKEND_STORE_URI": tracking_uri(out, uri),
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }


class TrackingThread:
    """Feeds a ``Tracker`` from the background, so that MLflow being slow, broken or away never costs a run anything.

    A daemon thread: it dies with the process, and what it had not written yet is written by ``bench mlflow sync`` or by
    the next run. After a failure it waits ``RETRY_S`` before it tries again.
    """

    RETRY_S: Final = 30.0

    def __init__(self, tracker: Tracker) -> None:
        self._tracker = tracker
        self._queue: queue.Queue[ResultRow | Path | None] = queue.Queue()
        self._pending: dict[str, ResultRow] = {}  # by row key; what MLflow does not hold yet
        self._report: Path | None = None
        self._state = ""
        self._error: str | None = None
        self._guard = threading.Lock()
        self._thread = threading.Thread(target=self._work, name="mlflow", daemon=True)
        self._thread.start()

    def submit(self, row: ResultRow) -> None:
        """Hand over a finished, failed or skipped row. Returns at once and never raises."""
        if unit_name(row) is not None:
            with self._guard:
                self._pending[row.key] = row
            self._queue.put(row)

    def report(self, folder: Path, state: str = "") -> None:
        """Have the report folder attached to the suite's run, after the rows, and then ``state`` noted as logged."""
        self._state = state
        self._queue.put(folder)

    @property
    def did(self) -> str:
        """What was written, in words; to be read after ``close``."""
        return self._tracker.summary()

    @property
    def notes(self) -> Sequence[str]:
        """What was mended, in words."""
        return self._tracker.notes

    def close(self, timeout_s: float = 30.0) -> str | None:
        """Wait at most ``timeout_s`` for the rest to be written; return a warning for what was not, else None."""
        self._queue.put(None)
        self._thread.join(timeout_s)
        with self._guard:
            left = list(self._pending.values())
        if not left and self._error is None and not self._thread.is_alive():
            return None
        cause = self._error or f"not finished within {timeout_s:g} s"
        what = f"{len(left)} cells not yet in MLflow" if left else "the report is not yet in MLflow"
        return f"{what}: {cause}; nothing is lost, run `bench mlflow sync` to fill it in"

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
        """Try to write everything pending; return whether it worked. One bad row does not hold up the others."""
        with self._guard:
            todo = list(self._pending.values())
        failures = 0
        try:
            self._tracker.connect()
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
        except Exception as e:  # whatever MLflow, its database or the network throws, the run goes on
            failures, self._error = failures + 1, _one_line(e)
        if not failures:
            self._error = None
        return not failures

    def _drop(self, row: ResultRow) -> None:
        with self._guard:
            if self._pending.get(row.key) is row:
                del self._pending[row.key]


def _one_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or ["no message"]
    return redact(f"{type(error).__name__}: {lines[0]}")[:200]
