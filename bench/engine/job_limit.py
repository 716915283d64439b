"""What a worker of limited time may start: a job of a batch system that ends at a fixed time."""

from __future__ import annotations

import time
from collections.abc import Collection

from bench.engine.elsewhere import Limit
from bench.engine.scheduler import Listener
from bench.plan.plan import Cell

IDLE_S = 60.0  # a worker ends after this time without a cell, so that it does not hold a machine


class JobLimit(Listener, Limit):
    """Takes cells of some stages (() for all) that are predicted to be done within ``minutes`` (None: any).

    A cell of unknown time is taken. The first cell of a worker is too, whatever its time: one that takes longer than a
    whole job continues in the next job from its checkpoint.
    """

    def __init__(self, stages: Collection[str], minutes: float | None) -> None:
        self._stages = stages
        self._end_s = None if minutes is None else time.monotonic() + 60 * minutes
        self._fresh, self._refused = True, False
        self._idle_since_s: float | None = None

    def takes(self, cell: Cell) -> bool:
        """Return whether the worker may start a free cell now."""
        if self._stages and cell.stage not in self._stages:
            return False
        prediction = self.predict(cell)
        if self._fresh or self._end_s is None or prediction is None:
            return True
        fits = prediction.elapsed_s <= self._end_s - time.monotonic()
        self._refused = self._refused or not fits
        return fits

    def started(self, cell: Cell) -> None:
        """Note that the worker is busy."""
        self._fresh, self._idle_since_s = False, None

    def leaves(self) -> bool:
        """Return whether a worker of limited time without a cell is to end. Call it only while it has none."""
        if self._end_s is None:
            return False
        now = time.monotonic()
        if self._idle_since_s is None:
            self._idle_since_s = now
        return self._refused or now - self._idle_since_s > IDLE_S
