"""Tolerances of rows: the measured spread times a factor, with a minimum per kind of row.

A row's spread is its largest change under any of the numerics. A few runs give little information about a single row,
so spreads are pooled: the spread of a quantity is the maximum over the folds and repeats of its arm, and over both
directions of a translation ('loss_cycle_a' and 'loss_cycle_b'). Arms whose training amplifies rounding (most generators
and the classifiers trained on their images) are also pooled by stage, except for losses of generators, which have no
common scale. Tolerances of first losses and of rows without a generator remain narrow.

The tolerance of a score or share is at most ``MOST``. A row that needs a wider one is compared only, and exactly, under
the baseline's numerics; under other numerics only its mean over all cells is compared.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

from bench.check.costs import STEP
from bench.check.rows import PERCENT, Row, is_share

FACTOR = 4.0  # times the measured spread
RELATIVE = {"loss": 0.005, "image": 0.01}  # minimum, relative to the value
RESTLESS = (
    8.0  # spread in minimum tolerances above which an arm is pooled by stage; suite `ci`: GANs 9 to 700, others ≤ 6
)
LEAST = 1e-4  # absolute minimum for losses and image metrics with values near 0
MOST = 0.05  # maximum for scores and shares, absolute: five points
MOST_RELATIVE = 0.25  # maximum for other image metrics, relative to the value
MEAN_LEAST = 0.01  # minimum for means of scores and shares: single predictions differ between machines
TIME_SAME = 0.09  # of step time, relative, on the same kind of machine as the baseline
TIME_ELSEWHERE = 1.5  # of step time, relative; other kernels and shared caches: -70 to +90 % in suite `ci`
WORK_SAME = 0.001  # of operations and bytes, relative: a small tensor may be freed a moment later on a busy machine
WORK_ELSEWHERE = 0.05  # of operations and bytes, relative: equal code gives equal numbers, other torch versions almost
FOLD = re.compile(r" fold \d+(\.\d+)?$")
DIRECTION = re.compile(r"_(a|b|ab|ba)(?= at step |$)|/[^/]+_to_[^/]+$")  # of 'loss_adv_ab at step 5', 'fcn/iou/x_to_y'

Key = tuple[str, str, str]
Rows = Mapping[Key, Row]


def spreads(rows: Rows, runs: Sequence[Rows]) -> dict[Key, float]:
    """Return the pooled spread of every numeric row over all runs."""
    own: dict[Key, float] = {}
    for key, row in rows.items():
        others = [run[key].value for run in runs if key in run]
        if isinstance(row.value, float):
            own[key] = max((moved(row.value, x) for x in others if isinstance(x, float)), default=0.0)
    numbers = {key: spread for key, spread in own.items() if key[0] != "cost"}  # times vary with the machine
    restless = {_arm(key) for key, spread in numbers.items() if FACTOR * spread > RESTLESS * _least(rows[key])}
    pooled: dict[Key, float] = {}
    for key, spread in own.items():
        for pool in _pools(key, restless):
            pooled[pool] = max(spread, pooled.get(pool, 0.0))
    return {key: max(pooled[pool] for pool in _pools(key, restless)) for key in own}


def moved(baseline: float, now: float) -> float:
    """Return the distance of two values: 0 if equal or both NaN, infinity between NaN and a number."""
    if baseline == now or (math.isnan(baseline) and math.isnan(now)):
        return 0.0
    return math.inf if math.isnan(baseline) or math.isnan(now) else abs(now - baseline)


def tolerance(row: Row, spread: float) -> float:
    """Return the tolerance of a numeric row: 0 for facts, statuses and leaks, which do not depend on numerics.

    Infinity for a row that is compared only under the baseline's numerics.
    """
    if not isinstance(row.value, float) or row.kind in ("cell", "leak"):
        return 0.0
    if row.kind == "cost":
        return (TIME_ELSEWHERE if row.quantity == STEP else WORK_ELSEWHERE) * row.value
    allowed = max(FACTOR * spread, _least(row))
    most = _most(row)
    if row.kind == "mean" and spread <= most / 2:
        return min(allowed, most)
    return allowed if allowed <= most else math.inf


def tolerance_here(row: Row, elsewhere: float) -> float:
    """Return the tolerance of a row under the baseline's numerics; ``elsewhere`` is that under other numerics."""
    if row.kind != "cost" or not isinstance(row.value, float):
        return 0.0
    return min(elsewhere, (TIME_SAME if row.quantity == STEP else WORK_SAME) * row.value)


def _most(row: Row) -> float:
    """Return the largest useful tolerance of a row."""
    if row.kind == "loss":
        return math.inf
    if is_share(row.quantity):
        return MOST * (100 if PERCENT in row.quantity else 1)
    return MOST_RELATIVE * abs(row.value) if isinstance(row.value, float) else math.inf


def _least(row: Row) -> float:
    if not isinstance(row.value, float):
        return 0.0
    size = 0.0 if math.isnan(row.value) else abs(row.value)
    if row.kind == "mean":
        return (MEAN_LEAST * (100 if PERCENT in row.quantity else 1)) if is_share(row.quantity) else 0.01 * size
    least = max(RELATIVE.get(row.kind, 0.0) * size, row.quantum)
    return max(least, LEAST) if row.kind in ("loss", "image") else least


def _arm(key: Key) -> str:
    return FOLD.sub("", key[1])


def _pools(key: Key, restless: set[str]) -> list[Key]:
    """Return the pools of a row's spread: its arm, and its stage if the arm amplifies rounding."""
    kind, quantity = key[0], DIRECTION.sub("", key[2])
    stage = _arm(key).partition(" ")[0]
    shared = _arm(key) in restless and kind in ("loss", "score", "image") and stage != "fit"
    return [(kind, _arm(key), quantity), *([(kind, f"any {stage}", quantity)] if shared else [])]
