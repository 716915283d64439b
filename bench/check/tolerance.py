"""By how much a row may move: what was measured, times a factor, and no less than a floor of its kind.

A row's spread is the most by which it moved under any of the numerics, against the machine as it is. Folds stand in
for each other: the spread of a row is the largest of its quantity over the folds and repeats of its arm, since a few
runs say little about one row alone. Quantities that training amplifies rounding in get wide tolerances that way, and
first losses narrow ones.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

from bench.check.costs import PEAK
from bench.check.rows import Row

FACTOR = 3.0  # times the measured spread
RELATIVE = {"loss": 0.005, "image": 0.01, "cost": 0.3}  # floors, of the value
LEAST = 1e-4  # absolute floor of losses and image metrics: values near 0
PEAK_RELATIVE = 0.05  # floor of peak bytes: equal code gives equal bytes, another torch hardly others
MOST_OF_A_COST = 0.45  # of the value: a step that takes half as long again is never within its tolerance
FOLD = re.compile(r" fold \d+(\.\d+)?$")

Key = tuple[str, str, str]


def spreads(runs: Sequence[Mapping[Key, Row]]) -> dict[Key, float]:
    """Return the spread of every numeric row of the first run over all runs, folds pooled."""
    own: dict[Key, float] = {}
    for key, row in runs[0].items():
        others = [run[key].value for run in runs[1:] if key in run]
        if isinstance(row.value, float):
            own[key] = max((moved(row.value, x) for x in others if isinstance(x, float)), default=0.0)
    pooled: dict[Key, float] = {}
    for key, spread in own.items():
        pooled[_pool(key)] = max(spread, pooled.get(_pool(key), 0.0))
    return {key: pooled[_pool(key)] for key in own}


def moved(baseline: float, now: float) -> float:
    """Return the distance of two values; equal ones, NaN included, are 0 apart, NaN infinitely far from a number."""
    if baseline == now or (math.isnan(baseline) and math.isnan(now)):
        return 0.0
    return math.inf if math.isnan(baseline) or math.isnan(now) else abs(now - baseline)


def tolerance(row: Row, spread: float) -> float:
    """Return by how much a numeric row may move. Facts, statuses and leaks that no numerics moved may not at all."""
    if not isinstance(row.value, float) or row.kind in ("cell", "leak"):
        return 0.0
    if row.kind == "cost" and row.quantity == PEAK:
        return max(FACTOR * spread, PEAK_RELATIVE * row.value)
    size = 0.0 if math.isnan(row.value) else abs(row.value)
    floor = max(RELATIVE.get(row.kind, 0.0) * size, row.quantum)
    if row.kind in ("loss", "image"):
        floor = max(floor, LEAST)
    if row.kind == "cost":
        return min(max(FACTOR * spread, floor), MOST_OF_A_COST * size)
    return max(FACTOR * spread, floor)


def _pool(key: Key) -> Key:
    kind, cell, quantity = key
    return (kind, FOLD.sub("", cell), quantity)
