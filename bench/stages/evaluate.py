"""Score a saved table of predictions."""

from __future__ import annotations

from bench.plan.plan import Cell
from bench.stages.common import Inputs, Output, RunEnv
from bench.stages.context import CellContext


def run(cell: Cell, env: RunEnv, ctx: CellContext) -> Output:
    from bench.metrics.classification import classification_metrics
    from bench.metrics.custom import own_scores
    from bench.metrics.predictions import read_predictions
    from bench.metrics.units import scored_unit

    inputs = Inputs(cell, env)
    folder, positive = inputs.upstream("classify"), inputs.index.positive_label
    per_group = scored_unit(inputs.index).per_group
    predictions = read_predictions(folder / "predictions.csv")
    metrics: dict[str, float] = {}
    for part in ("validation", "test"):
        p = predictions.select(part)
        found = classification_metrics(p.y_true, p.y_prob, p.group, p.classes, positive, per_group)
        metrics |= {f"{part}/{name}": value for name, value in found.items()}
    for spec in env.suite.metrics:  # ``p`` is the test part
        found = own_scores(spec.name, spec.create(), p.y_true, p.y_prob, p.group, p.classes, positive, per_group)
        metrics |= {f"test/{name}": value for name, value in found.items()}
    return Output(metrics=metrics, facts={"predictions": str((folder / "predictions.csv").relative_to(env.out))})
