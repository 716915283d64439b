"""Score a saved table of predictions."""

from __future__ import annotations

from bench.context import CellContext
from bench.plan import Cell
from bench.stages.common import Inputs, Output, RunEnv


def run(cell: Cell, env: RunEnv, ctx: CellContext) -> Output:
    from bench.metrics.classification import classification_metrics
    from bench.metrics.own import own_scores
    from bench.metrics.predictions import read_predictions

    folder = Inputs(cell, env).upstream("classify")
    predictions = read_predictions(folder / "predictions.csv")
    metrics = {}
    for part in ("validation", "test"):
        p = predictions.select(part)
        for name, value in classification_metrics(p.y_true, p.y_prob, p.group, p.classes).items():
            metrics[f"{part}/{name}"] = value
    for spec in env.suite.metrics:  # ``p`` is the test part
        found = own_scores(spec.name, spec.create(), p.y_true, p.y_prob, p.group, p.classes)
        metrics |= {f"test/{name}": value for name, value in found.items()}
    return Output(metrics=metrics, facts={"predictions": str((folder / "predictions.csv").relative_to(env.out))})
