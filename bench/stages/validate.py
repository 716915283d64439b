"""Fine-tune a classifier for tuning: as stage ``classify``, on a train/validation view without the test part."""

from __future__ import annotations

from bench.data.loaders import Part
from bench.leakage import PartName
from bench.plan.plan import Cell
from bench.stages.classify import predict_parts, train
from bench.stages.common import Inputs, Output, RunEnv
from bench.stages.context import CellContext

SCORED: tuple[PartName, ...] = ("validation",)


def run(cell: Cell, env: RunEnv, ctx: CellContext) -> Output:
    """Score a generator or classifier on validation images, for tuning; return metrics, costs and facts of the cell."""
    inputs = Inputs(cell, env)
    with ctx.phase("data"):
        train_validation = inputs.fold().train_validation()
    network, facts = train(inputs, train_validation, ctx)
    parts: dict[str, Part] = {name: train_validation.part(name) for name in SCORED}
    predict_parts(network, parts, train_validation, inputs, ctx)
    return Output(facts=facts)
