"""The line on the terminal that shows how far the reading of a large data set is."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

SILENT_S = 2.0  # small sets are read without a line
EVERY_S = 10.0  # between two lines where stderr is not a terminal


class ReadingLine:
    """A listener for ``bench.data.reading_progress``: a bar on a terminal, else a line every 10 seconds, on stderr."""

    def __init__(self) -> None:
        self._what = ""
        self._since = self._last = 0.0
        self._bar: tuple[Progress, TaskID] | None = None

    def __call__(self, what: str, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` are read; remove the bar after the last."""
        now = time.monotonic()
        if what != self._what:
            self.close()
            self._what, self._since, self._last = what, now, now
        if sys.stderr.isatty():
            self._draw(now, done, total)
        elif now - self._last >= EVERY_S:
            self._last = now
            print(f"{what}: {done:,} of {total:,}", file=sys.stderr, flush=True)

    def _draw(self, now: float, done: int, total: int) -> None:
        if done >= total:
            self.close()
        elif self._bar:
            progress, task = self._bar
            progress.update(task, completed=done)
        elif now - self._since >= SILENT_S:
            from rich.console import Console
            from rich.progress import Progress

            progress = Progress(console=Console(stderr=True), transient=True)
            progress.start()
            self._bar = progress, progress.add_task(self._what, total=total, completed=done)

    def close(self) -> None:
        """Remove the bar."""
        if self._bar:
            self._bar[0].stop()
        self._bar, self._what = None, ""
