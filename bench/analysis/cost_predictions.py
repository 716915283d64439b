"""Predicted and measured cost of cells. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import median

from bench.analysis.rows import NAN, Rows
from bench.cost.keys import CostKey, predicted
from bench.plan.plan import STAGES
from bench.types import ResultRow


@dataclass(frozen=True)
class PredictedStage:
    """Sums over the cells of a stage that had a prediction; ``guessed`` of these were predicted from other kinds.

    ``error`` is the median over cells of the factor by which the predicted wall time was too high or too low, ≥ 1.
    ``memory_error`` is the same for peak memory.
    """

    stage: str
    cells: int
    guessed: int
    predicted_s: float
    elapsed_s: float
    predicted_device_s: float
    device_s: float
    error: float
    memory_error: float


def predicted_stages(rows: Rows) -> tuple[PredictedStage, ...]:
    """Return a record for each stage with predicted cells."""
    found = []
    for stage in STAGES:
        known = {r.key: r for r in rows.all(stage) if r.status == "done" and CostKey.PREDICTED_ELAPSED_S in r.costs}
        cells = list(known.values())
        if cells:
            found.append(
                PredictedStage(
                    stage=stage,
                    cells=len(cells),
                    guessed=sum(bool(r.costs.get(CostKey.PREDICTED_BY_GUESS)) for r in cells),
                    predicted_s=_sum(cells, CostKey.PREDICTED_ELAPSED_S),
                    elapsed_s=_sum(cells, CostKey.ELAPSED_S),
                    predicted_device_s=_sum(cells, CostKey.PREDICTED_DEVICE_S),
                    device_s=_sum(cells, CostKey.DEVICE_S),
                    error=median(_factor(r, CostKey.ELAPSED_S) for r in cells),
                    memory_error=median(_factor(r, CostKey.PEAK_MEMORY_BYTES) for r in cells),
                )
            )
    return tuple(found)


def _sum(cells: list[ResultRow], key: CostKey) -> float:
    return sum(r.costs.get(key, NAN) for r in cells)


def _factor(row: ResultRow, key: CostKey) -> float:
    """Return the factor by which a predicted cost was too high or too low, ≥ 1."""
    expected, found = row.costs.get(predicted(key), NAN), row.costs.get(key, NAN)
    return math.exp(abs(math.log(expected / found))) if expected > 0 and found > 0 else NAN
