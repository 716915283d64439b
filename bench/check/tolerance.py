"""By how much a row may move: what was measured, times a factor, and no less than a floor of its kind.

A row's spread is the most by which it moved under any of the numerics. A few runs say little about one row alone, so
rows stand in for each other: the spread of a quantity is the largest over the folds and repeats of its arm, and over
both directions of a translation ('loss_cycle_a' and 'loss_cycle_b'). Arms whose training amplifies rounding (most
generators', and the classifiers' trained on their images) also stand in for each other, stage by stage, except in the
losses of generators, which have no common scale. So what is chaotic gets a wide tolerance by measurement; first losses
stay narrow, and so does what depends on no generator.
"""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace

from bench.check.costs import PEAK
from bench.check.rows import Row

FACTOR = 4.0  # times the measured spread
RELATIVE = {"loss": 0.005, "image": 0.01}  # floors, of the value
RESTLESS = 8.0  # an arm is, with a row beyond so many floors; suite `ci`: GANs and what follows 9 to 700, others to 6
LEAST = 1e-4  # absolute floor of losses and image metrics: values near 0
COST_FACTOR, COST_FLOOR, COST_MOST = 1.5, 0.3, 0.4  # the last two of the value: half as slow again is never tolerated
PEAK_FLOOR = 0.05  # of peak bytes: equal code gives equal bytes, another torch hardly others
FOLD = re.compile(r" fold \d+(\.\d+)?$")
DIRECTION = re.compile(r"_(a|b|ab|ba)(?= at step |$)|/[^/]+_to_[^/]+$")  # of 'loss_adv_ab at step 5', 'fcn/iou/x_to_y'

Key = tuple[str, str, str]
Rows = Mapping[Key, Row]


def values(runs: Sequence[Rows]) -> dict[Key, Row]:
    """Return what the baseline says: the first run's rows, but the medians of costs, which no run has exactly."""
    found = dict(runs[0])
    for key, row in found.items():
        if row.kind == "cost":
            measured = [run[key].value for run in runs if key in run]
            found[key] = replace(row, value=statistics.median(x for x in measured if isinstance(x, float)))
    return found


def spreads(rows: Rows, runs: Sequence[Rows]) -> dict[Key, float]:
    """Return the spread of every numeric row over all runs, with those of the rows that it stands in for."""
    own: dict[Key, float] = {}
    for key, row in rows.items():
        others = [run[key].value for run in runs if key in run]
        if isinstance(row.value, float):
            own[key] = max((moved(row.value, x) for x in others if isinstance(x, float)), default=0.0)
    restless = {_arm(key) for key, spread in own.items() if FACTOR * spread > RESTLESS * _floor(rows[key])}
    pooled: dict[Key, float] = {}
    for key, spread in own.items():
        for pool in _pools(key, restless):
            pooled[pool] = max(spread, pooled.get(pool, 0.0))
    return {key: max(pooled[pool] for pool in _pools(key, restless)) for key in own}


def moved(baseline: float, now: float) -> float:
    """Return the distance of two values; equal ones, NaN included, are 0 apart, NaN infinitely far from a number."""
    if baseline == now or (math.isnan(baseline) and math.isnan(now)):
        return 0.0
    return math.inf if math.isnan(baseline) or math.isnan(now) else abs(now - baseline)


def tolerance(row: Row, spread: float) -> float:
    """Return by how much a numeric row may move. Facts, statuses and leaks that no numerics moved may not at all."""
    if not isinstance(row.value, float) or row.kind in ("cell", "leak"):
        return 0.0
    if row.kind == "cost" and row.quantity != PEAK:
        return min(max(COST_FACTOR * spread, _floor(row)), COST_MOST * row.value)
    return max(FACTOR * spread, _floor(row))


def _floor(row: Row) -> float:
    if not isinstance(row.value, float):
        return 0.0
    size = 0.0 if math.isnan(row.value) else abs(row.value)
    if row.kind == "cost":
        return (PEAK_FLOOR if row.quantity == PEAK else COST_FLOOR) * size
    floor = max(RELATIVE.get(row.kind, 0.0) * size, row.quantum)
    return max(floor, LEAST) if row.kind in ("loss", "image") else floor


def _arm(key: Key) -> str:
    return FOLD.sub("", key[1])


def _pools(key: Key, restless: set[str]) -> list[Key]:
    """Return what a row shares its spread with: its own arm; and where that is restless, its stage."""
    kind, quantity = key[0], DIRECTION.sub("", key[2])
    stage = _arm(key).partition(" ")[0]
    shared = _arm(key) in restless and kind in ("loss", "score", "image") and stage != "fit"
    return [(kind, _arm(key), quantity), *([(kind, f"any {stage}", quantity)] if shared else [])]
