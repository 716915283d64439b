"""The work of a trial: per fold, the cells of `bench run` without access to the test part, and a validation score."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from bench.cost.keys import CostKey
from bench.engine.cell_run import run_cell
from bench.errors import BenchError
from bench.plan.plan import Cell
from bench.stages import RunEnv
from bench.stages.common import Inputs
from bench.store.cell_folders import Artifacts
from bench.suite.suite import Suite
from bench.tuning.arm import Arm

TIE_BREAK = "brier"
TIE = 1e-3  # weight of the tie break relative to the score


class TrialFailed(BenchError):
    """A cell of a trial failed, or its score is undefined."""


@dataclass(frozen=True)
class PairResult:
    """One fold × repeat of a trial: the validation score, and the device-seconds of the arm's cells by row key."""

    score: float
    seconds: Mapping[str, float]
    tie_break: float = 0.0  # the negative Brier score; the higher, the better

    @property
    def rank(self) -> float:
        """The value that pruners compare; a tie break is added because few validation patients give many ties."""
        return self.score + TIE * self.tie_break


def run_pair(arm: Arm, suite: Suite, cells: list[Cell]) -> PairResult:
    """Run the cells of one fold × repeat unless they are done. Raises ``TrialFailed``."""
    env = replace(arm.session.env, suite=suite)
    seconds = {}
    for cell in cells:
        row = run_cell(cell, env)
        if row.status != "done":
            raise TrialFailed(f"{cell.title}: {row.error}")
        if cell.method is not None:  # the split belongs to no arm
            seconds[cell.row_key] = row.costs.get(CostKey.DEVICE_S, row.costs[CostKey.ELAPSED_S])
    metrics = (arm.unit.primary, arm.unit.prefix + TIE_BREAK)
    score, tie_break = (validation_score(cells[-1], env, metric) for metric in metrics)
    return PairResult(score, seconds, tie_break)


def validation_score(cell: Cell, env: RunEnv, metric: str) -> float:
    """Return a metric of a finished ``validate`` cell's predictions; higher is better, lower ones are negated.

    Raises ``LeakageError`` if a prediction is not of the fold's validation part, whatever part it declares, and
    ``TrialFailed`` if that part lacks a class.
    """
    from bench.metrics.predictions import read_predictions
    from bench.metrics.selection import selection_score

    predictions = read_predictions(Artifacts(env.out).folder(*cell.id) / "predictions.csv")
    score = selection_score(predictions, metric, Inputs(cell, env).fold().train_validation().fold_parts)
    if not math.isfinite(score):
        raise TrialFailed(
            f"the validation part of fold {cell.fold} lacks a class, so its {metric} is undefined; use "
            "fewer folds, or a larger split.validation_fraction"
        )
    return score
