"""Predicted and measured cost of cells. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import median

from bench.analysis.rows import NAN, Rows
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
        known = {r.key: r for r in rows.all(stage) if r.status == "done" and "predicted_elapsed_s" in r.costs}
        cells = list(known.values())
        if cells:
            found.append(
                PredictedStage(
                    stage=stage,
                    cells=len(cells),
                    guessed=sum(bool(r.costs.get("predicted_by_guess")) for r in cells),
                    predicted_s=_sum(cells, "predicted_elapsed_s"),
                    elapsed_s=_sum(cells, "elapsed_s"),
                    predicted_device_s=_sum(cells, "predicted_device_s"),
                    device_s=_sum(cells, "device_s"),
                    error=median(_factor(r, "elapsed_s") for r in cells),
                    memory_error=median(_factor(r, "peak_memory_bytes") for r in cells),
                )
            )
    return tuple(found)


def _sum(cells: list[ResultRow], name: str) -> float:
    return sum(r.costs.get(name, NAN) for r in cells)


def _factor(row: ResultRow, name: str) -> float:
    """Return the factor by which a predicted cost was too high or too low, ≥ 1."""
    expected, found = row.costs.get(f"predicted_{name}", NAN), row.costs.get(name, NAN)
    return math.exp(abs(math.log(expected / found))) if expected > 0 and found > 0 else NAN
