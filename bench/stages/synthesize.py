"""Make a fitted method's synthetic folder: images, their manifest, and the groups that its generator has seen."""

from __future__ import annotations

from collections.abc import Mapping

from bench.cost.keys import CostKey
from bench.data.loaders import FoldData, check_generator, ratio_counts
from bench.data.synthetic_files import load_seen, save_manifest
from bench.errors import BenchError
from bench.plan.plan import Cell
from bench.stages.common import Inputs, Output, RunEnv
from bench.stages.context import CellContext
from bench.stages.synthetic import require_synthetic, synthetic_size
from bench.types import SyntheticRecord, SyntheticSet


def run(cell: Cell, env: RunEnv, ctx: CellContext) -> Output:
    """Make the images of a trained generator; return metrics, costs and facts of the cell."""
    inputs = Inputs(cell, env)
    fold = inputs.fold()
    counts: dict[int, int] = {}
    for ratio in inputs.settings.ratios:
        for label, n in ratio_counts(ratio, fold.labels).items():
            counts[label] = max(n, counts.get(label, 0))
    drawn = draw(inputs, fold, counts, ctx)
    save_manifest(ctx.folder, drawn.records, drawn.seen_groups)
    images, seconds = len(drawn.records), ctx.timer.seconds["sample"]
    return Output(costs={CostKey.IMAGES_PER_S: images / max(seconds, 1e-9)}, facts={"images": images})


def draw(inputs: Inputs, fold: FoldData, counts: Mapping[int, int], ctx: CellContext) -> SyntheticSet:
    """Write ``counts[label]`` images of the cell's fitted method to the cell's folder, without a manifest.

    Raises ``LeakageError`` if the generator saw a group outside the fold's training part, and ``BenchError`` if the
    method makes other images than requested.
    """
    from PIL import Image

    method_name, fitted = str(inputs.cell.method), inputs.upstream("fit")
    data, seen_groups = fold.training, load_seen(fitted)  # as the generator's cell recorded them
    check_generator(fitted, seen_groups, fold.fold_parts)
    group = {r.path: r.group_id for r in data.records}
    records, done, total = [], dict.fromkeys(counts, 0), sum(counts.values())
    method = inputs.env.suite.method(method_name).create()
    size = synthetic_size(method, data.image_size_px)
    with ctx.phase("sample"):
        for item in method.synthesize(data, counts, fitted, ctx):
            require_synthetic(method_name, item, size, counts, group)
            path = f"images/{item.label}/{done[item.label]:05d}.png"
            (ctx.folder / path).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(item.image).save(ctx.folder / path, compress_level=1)
            source = item.source_path or ""
            source_group = group[source] if source else ""
            records.append(SyntheticRecord(path, item.label, item.seed, fitted.name, source, source_group))
            done[item.label] += 1
            ctx.log(len(records), total, {})
    if done != counts:
        raise BenchError(f"method {method_name} made {done} images per label, expected {counts}")
    return SyntheticSet(ctx.folder, tuple(records), seen_groups)
