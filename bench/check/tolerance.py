"""By how much a row may move: what was measured, times a factor, and no less than a floor of its kind.

A row's spread is the most by which it moved under any of the numerics. A few runs say little about one row alone, so
rows stand in for each other: the spread of a quantity is the largest over the folds and repeats of its arm, and over
both directions of a translation ('loss_cycle_a' and 'loss_cycle_b'). Arms whose training amplifies rounding (most
generators', and the classifiers' trained on their images) also stand in for each other, stage by stage, except in the
losses of generators, which have no common scale. First losses stay narrow, and so does what depends on no generator.

No tolerance of a score or a share is above ``MOST``. Where a cell's number would need a wider one, it is compared only
where the numerics are those of the baseline, and there exactly; elsewhere its mean over all cells stands for it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

from bench.check.costs import PEAK
from bench.check.rows import PERCENT, Row, is_share

FACTOR = 4.0  # times the measured spread
RELATIVE = {"loss": 0.005, "image": 0.01}  # floors, of the value
RESTLESS = 8.0  # an arm is, with a row beyond so many floors; suite `ci`: GANs and what follows 9 to 700, others to 6
LEAST = 1e-4  # absolute floor of losses and image metrics: values near 0
MOST = 0.05  # of scores and shares, absolute: five points
MOST_RELATIVE = 0.25  # of other image metrics, of the value
MEAN_FLOOR = 0.01  # of means of scores and shares: on another machine single images are decided otherwise
COST_FACTOR, COST_FLOOR, COST_MOST = 1.5, 0.3, 0.4  # the last two of the value: half as slow again is never tolerated
COST_SAME = 0.09  # of a ratio's value, on a machine like the baseline's
PEAK_FLOOR = 0.05  # of peak bytes: equal code gives equal bytes, another torch hardly others
FOLD = re.compile(r" fold \d+(\.\d+)?$")
DIRECTION = re.compile(r"_(a|b|ab|ba)(?= at step |$)|/[^/]+_to_[^/]+$")  # of 'loss_adv_ab at step 5', 'fcn/iou/x_to_y'

Key = tuple[str, str, str]
Rows = Mapping[Key, Row]


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
    """Return by how much a numeric row may move: 0 for facts, statuses and leaks, which no numerics move.

    Infinity where only the baseline's own numerics say anything: the row is compared there alone.
    """
    if not isinstance(row.value, float) or row.kind in ("cell", "leak"):
        return 0.0
    if row.kind == "cost" and row.quantity != PEAK:
        return min(max(COST_FACTOR * spread, _floor(row)), COST_MOST * row.value)
    allowed = max(FACTOR * spread, _floor(row))
    most = _most(row)
    if row.kind == "mean" and spread <= most / 2:
        return min(allowed, most)
    return allowed if allowed <= most else math.inf


def tolerance_here(row: Row, elsewhere: float) -> float:
    """Return by how much a row may move under the baseline's own numerics; ``elsewhere`` is what others may."""
    if row.kind != "cost" or row.quantity == PEAK or not isinstance(row.value, float):
        return 0.0
    return min(elsewhere, COST_SAME * row.value)


def _most(row: Row) -> float:
    """Return the widest tolerance that says anything of a row."""
    if row.kind == "loss":
        return math.inf
    if is_share(row.quantity):
        return MOST * (100 if PERCENT in row.quantity else 1)
    return MOST_RELATIVE * abs(row.value) if isinstance(row.value, float) else math.inf


def _floor(row: Row) -> float:
    if not isinstance(row.value, float):
        return 0.0
    size = 0.0 if math.isnan(row.value) else abs(row.value)
    if row.kind == "cost":
        return (PEAK_FLOOR if row.quantity == PEAK else COST_FLOOR) * size
    if row.kind == "mean":
        return (MEAN_FLOOR * (100 if PERCENT in row.quantity else 1)) if is_share(row.quantity) else 0.01 * size
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
