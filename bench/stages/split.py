"""Draw one fold and check that its groups are disjoint."""

from __future__ import annotations

from bench.context import CellContext
from bench.data.splits import check_split, make_splits, save_split
from bench.plan import Cell
from bench.stages.common import Inputs, Output, RunEnv


def run(cell: Cell, env: RunEnv, ctx: CellContext) -> Output:
    inputs = Inputs(cell, env)
    splits = make_splits(inputs.index, env.suite.settings.split)
    split = next(s for s in splits if (s.fold, s.repeat) == (cell.fold, cell.repeat))
    check_split(split, inputs.index)
    save_split(split, inputs.index, ctx.folder / "split.json")
    sizes = {f"{part}_images": len(getattr(split, part)) for part in ("train", "validation", "test")}
    group = {r.path: r.group_id for r in inputs.index.records}
    groups = {f"{p}_groups": len({group[x] for x in getattr(split, p)}) for p in ("train", "validation", "test")}
    return Output(facts={**sizes, **groups})
