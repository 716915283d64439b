"""Draw more synthetic images than an arm uses, and keep the best by a rule fitted on this fold's training images.

Per class ceil(n / keep) images are drawn and n are kept (rules: ``bench.metrics.image_selection``). Drawing and scoring
are the phases ``sample`` and ``evaluate`` of this cell. ``selection.csv`` has the score of every drawn image.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bench.data.loaders import FoldData, ratio_counts
from bench.data.synthetic_files import load_synthetic, read_synthetic, save_manifest
from bench.leakage import FittedStatistics, FoldParts, check_statistics
from bench.plan.plan import Cell
from bench.stages.common import Features, Inputs, Output, RunEnv
from bench.stages.context import CellContext
from bench.stages.synthesize import draw
from bench.store.csv_cells import DictWriter
from bench.types import SyntheticRecord, SyntheticSet

TABLE, SCORER = "selection.csv", "selection_scorer.json"
READ = 512  # images in memory


def run(cell: Cell, env: RunEnv, ctx: CellContext) -> Output:
    """Keep the best of the drawn images; return metrics, costs and facts of the cell."""
    inputs, arm = Inputs(cell, env), cell.arm
    fold = inputs.fold()
    counts = ratio_counts(arm.ratio, fold.labels)
    drawn = draw(inputs, fold, {label: math.ceil(n / arm.keep) for label, n in counts.items()}, ctx)
    with ctx.phase("evaluate"):
        features = Features(env)
        scorer = fitted_scorer(features, fold)
        replace(scorer, values={"training_images": len(fold.labels)}).save(ctx.folder / SCORER)
        kept, scores = select(drawn, arm.selection, counts, features, scorer, fold)
    _write_table(ctx.folder / TABLE, drawn.records, scores, kept)
    for record in drawn.records:
        if record.path not in kept:
            (drawn.folder / record.path).unlink()
    save_manifest(ctx.folder, [r for r in drawn.records if r.path in kept], drawn.seen_groups)
    facts = {"extractor": features.tag, "images": len(kept), "drawn_images": len(drawn.records)}
    return Output(facts=facts)


def synthetic_of(inputs: Inputs, fold_parts: FoldParts) -> SyntheticSet:
    """Return the synthetic images of a ``classify`` cell's arm: all that were made, or the selected ones.

    Raises ``LeakageError`` unless the scorer of a selection was fitted on the fold's training images.
    """
    folder = inputs.upstream(inputs.cell.arm.synthesis_stage)
    if inputs.cell.arm.is_selected:
        check_statistics(FittedStatistics.load(folder / SCORER), fold_parts)
    return load_synthetic(folder)


def fitted_scorer(features: Features, fold: FoldData) -> FittedStatistics:
    """Return what the rules need: features float32 [N, D] and labels int64 [N] of the fold's training images."""
    train = fold.part("train")
    values = {"features": features(train.images), "labels": train.labels}
    return FittedStatistics("the scorer that selects synthetic images", values, train.source_images)


def select(
    drawn: SyntheticSet,
    rule: str,
    counts: Mapping[int, int],
    features: Features,
    scorer: FittedStatistics,
    fold: FoldData,
) -> tuple[frozenset[str], dict[str, float]]:
    """Return the paths of the ``counts[label]`` selected images of each label, and the score of every drawn image.

    Raises ``LeakageError`` unless the scorer was fitted on the fold's training images only.
    """
    from bench.metrics.image_selection import selected

    known = scorer.for_fold(fold.fold_parts)
    kept: list[str] = []
    scores: dict[str, float] = {}
    for label, count in counts.items():
        paths = [r.path for r in drawn.records if r.label == label]
        if not count:
            continue
        made = _features([drawn.folder / path for path in paths], features, fold.image_size_px)
        rows, found = selected(rule, known["features"], known["labels"], made, label, count)
        kept += [paths[i] for i in rows]
        scores |= dict(zip(paths, map(float, found), strict=True))
    return frozenset(kept), scores


def _features(paths: Sequence[Path], features: Features, size_px: int) -> npt.NDArray[np.float32]:
    """Return the features float32 [N, D] of images on disk, read in parts to limit the memory."""
    parts = [paths[i : i + READ] for i in range(0, len(paths), READ)]
    return np.concatenate([features.extract(np.stack([read_synthetic(p, size_px) for p in part])) for part in parts])


def _write_table(
    path: Path, records: Sequence[SyntheticRecord], scores: Mapping[str, float], kept: Collection[str]
) -> None:
    """Write a row for each drawn image, in the order of drawing."""
    with open(path, "w", encoding="utf-8", newline="") as f:
        writer = DictWriter(f, ("path", "label", "score", "kept"))
        writer.writeheader()
        for r in records:
            row = {"path": r.path, "label": r.label, "score": f"{scores[r.path]:.9g}", "kept": int(r.path in kept)}
            writer.writerow(row)
