"""Draw one fold and check that its groups are disjoint."""

from __future__ import annotations

from bench.data.published_split import PUBLISHED
from bench.data.splits import check_split, make_splits, save_split
from bench.leakage import PARTS, UNLABELLED
from bench.plan.plan import Cell
from bench.stages.common import Inputs, Output, RunEnv
from bench.stages.context import CellContext


def run(cell: Cell, env: RunEnv, ctx: CellContext) -> Output:
    """Draw one fold, check and save it; return metrics, costs and facts of the cell."""
    inputs = Inputs(cell, env)
    split = make_splits(inputs.index, env.suite.settings.split, only=cell.at)[0]
    check_split(split, inputs.index)
    save_split(split, inputs.index, ctx.folder / "split.json")
    parts = (*PARTS, UNLABELLED) if split.unlabelled else PARTS
    sizes = {f"{part}_images": len(getattr(split, part)) for part in parts}
    group = {r.path: r.group_id for r in inputs.index.records}  # the patients, for any unit of the split
    of = {part: {group[x] for x in getattr(split, part)} for part in parts}
    groups = {f"{part}_groups": len(found) for part, found in of.items()}
    shared = {"unit": split.unit, "test_groups_also_trained_on": len(of["train"] & of["test"])}
    return Output(facts={**sizes, **groups, **(shared if split.protocol == PUBLISHED else {})})
