"""Score a saved table of predictions.

In a learning curve without a fixed test part, the table of the scored images is written beside the scores.
"""

from __future__ import annotations

from bench.plan.plan import Cell
from bench.stages.common import Inputs, Output, RunEnv
from bench.stages.context import CellContext


def run(cell: Cell, env: RunEnv, ctx: CellContext) -> Output:
    """Score the predictions of a classifier; return metrics, costs and facts of the cell."""
    from bench.metrics.classification import classification_metrics
    from bench.metrics.custom import own_scores
    from bench.metrics.predictions import read_predictions, write_predictions
    from bench.metrics.units import scored_unit

    inputs = Inputs(cell, env)
    table, positive = inputs.upstream("classify") / "predictions.csv", inputs.index.positive_label
    per_group = scored_unit(inputs.index).per_group
    predictions = read_predictions(table)
    if inputs.settings.split.predicts_unused:
        predictions = predictions.testing(inputs.split().test)
        write_predictions(ctx.folder / table.name, predictions)
        table = inputs.artifacts.folder(*cell.id) / table.name
    metrics: dict[str, float] = {}
    for part in ("validation", "test"):
        p = predictions.select(part)
        found = classification_metrics(p.y_true, p.y_prob, p.group, p.classes, positive, per_group)
        metrics |= {f"{part}/{name}": value for name, value in found.items()}
    for spec in env.suite.metrics:  # ``p`` is the test part
        found = own_scores(spec.name, spec.create(), p.y_true, p.y_prob, p.group, p.classes, positive, per_group)
        metrics |= {f"test/{name}": value for name, value in found.items()}
    return Output(metrics=metrics, facts={"predictions": str(table.relative_to(env.out))})
