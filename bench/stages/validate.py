"""Fine-tune a classifier for tuning: as stage ``classify`` does, on a fold whose test part cannot be had."""

from __future__ import annotations

from bench.leakage import PartName
from bench.plan.plan import Cell
from bench.stages.classify import predict_parts, train
from bench.stages.common import Inputs, Output, RunEnv
from bench.stages.context import CellContext

SCORED: tuple[PartName, ...] = ("validation",)


def run(cell: Cell, env: RunEnv, ctx: CellContext) -> Output:
    inputs = Inputs(cell, env)
    with ctx.phase("data"):
        sealed = inputs.fold().sealed()
    network, facts = train(inputs, sealed, ctx)
    predict_parts(network, {name: sealed.part(name) for name in SCORED}, inputs, ctx)
    return Output(facts=facts)
