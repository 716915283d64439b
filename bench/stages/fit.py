"""Train a generative method on the training part of one fold."""

from __future__ import annotations

import json
from typing import Any

from bench.data.synthetic_files import save_seen
from bench.plan.plan import Cell
from bench.stages.common import Inputs, Output, RunEnv
from bench.stages.context import CellContext
from bench.stages.training_fidelity import TrainingFidelity


def run(cell: Cell, env: RunEnv, ctx: CellContext) -> Output:
    """Train a generator on the training part of its fold; return metrics, costs and facts of the cell."""
    inputs = Inputs(cell, env)
    with ctx.phase("data"):
        data = inputs.fold().training
        data.images()
    ctx.score_images = TrainingFidelity(env, data)
    env.suite.method(str(cell.method)).create().fit(data, ctx)
    save_seen(ctx.folder, data.seen_groups)
    facts: dict[str, Any] = {}
    for name in ("facts.json", "weights.json"):
        path = ctx.folder / name
        if path.is_file():
            found = json.loads(path.read_text(encoding="utf-8"))
            facts |= found if name == "facts.json" else {"weights": found}
    return Output(facts=facts)
