"""Grad-CAM of a few test images, the same for every arm of a fold: where each arm's network looks.

For visual inspection only: nothing is selected or scored by it. ``explanations.npz`` has, without pickles, ``images``
uint8 [K, H, W, 3], ``maps`` float16 [K, H, W] in [0, 1] of the true class ([0, H, W] if the network allows none),
``labels`` int64 [K], ``probabilities`` float64 [K, C] as in the classifier's table, and ``paths`` unicode [K].
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bench.data.loaders import FoldData, Part
from bench.leakage import FittedStatistics, SourceImages
from bench.plan.plan import Cell
from bench.stages.augmentation import STATISTICS, augmenter_of, prepared
from bench.stages.classify import NORMALISATION, trained_network
from bench.stages.common import Inputs, Output, RunEnv
from bench.stages.context import CellContext

if TYPE_CHECKING:
    from bench.metrics.predictions import Predictions

EXPLANATIONS = "explanations.npz"


def run(cell: Cell, env: RunEnv, ctx: CellContext) -> Output:
    """Draw Grad-CAM maps of test images; return metrics, costs and facts of the cell."""
    from bench.classifiers.explain import NoLayerError, find_layer, grad_cam

    inputs = Inputs(cell, env)
    folder = inputs.upstream("classify")
    with ctx.phase("data"):
        fold = inputs.fold()
        table = checked_predictions(folder, fold)
        test = fold.part("test")
        rows = choose(test, inputs.settings.explain.images_per_class, ctx.seed)
        network = trained_network(inputs, folder)
        augmenter = augmenter_of(inputs.env.suite.method(str(cell.method)), fold, folder)
    images, labels = test.images[rows], test.labels[rows]
    seen = prepared(augmenter, images, env.device)
    maps, facts = np.zeros((0, *images.shape[1:3]), np.float32), dict[str, Any](images=len(rows))
    with ctx.phase("evaluate"):
        try:
            layer = find_layer(network, images.shape[1:3], env.device)
            maps = grad_cam(network, seen, labels, env.device, layer)
            facts |= {"layer": layer.name, "grid": list(layer.grid), "empty_maps": int((maps.max((1, 2)) == 0).sum())}
        except NoLayerError as e:
            facts["no_maps"] = str(e)
    paths = [test.records[row].path for row in rows.tolist()]
    at = {path: i for i, path in enumerate(table.image)}
    np.savez_compressed(
        ctx.folder / EXPLANATIONS,
        images=images,
        maps=maps.astype(np.float16),
        labels=labels,
        probabilities=table.y_prob[[at[path] for path in paths]],
        paths=np.array(paths, dtype=np.str_),
    )
    return Output(facts=facts)


def checked_predictions(folder: Path, fold: FoldData) -> Predictions:
    """Return the test predictions in a classifier's folder, after checking that they belong to this fold.

    Raises ``LeakageError`` when the classifier was tested on images outside the fold's test part, or when its input is
    normalised by, or its augmentation uses, statistics of images outside the training part.
    """
    from bench.metrics.predictions import read_predictions

    fold_parts = fold.fold_parts
    table = read_predictions(folder / "predictions.csv").testing([r.path for r in fold.part("test").records])
    table = table.select("test")
    tested = SourceImages(frozenset(table.group), frozenset(table.image))
    fold_parts.require(f"the test of {folder}", tested, "test", "explain a classifier on the test part of its fold")
    for path in (folder / NORMALISATION, folder / STATISTICS):
        if path.is_file():
            FittedStatistics.load(path).for_fold(fold_parts)
    return table


def choose(test: Part, per_class: int, seed: int) -> npt.NDArray[np.intp]:
    """Return rows of the test part, ``per_class`` of each class or all it has, of as many patients as possible.

    Sorted by class, random within a class. The first rows of a class do not depend on ``per_class``.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(test.labels))
    found: list[int] = []
    for label in np.unique(test.labels):
        turns: dict[str, int] = {}  # number of earlier images of the same patient
        ranked: list[tuple[int, int, int]] = []  # (turn, position in the order, row)
        for row in order[test.labels[order] == label].tolist():
            turn = turns[test.groups[row]] = turns.get(test.groups[row], -1) + 1
            ranked.append((turn, len(ranked), row))
        found += [row for _, _, row in sorted(ranked)[:per_class]]
    return np.array(found, dtype=np.intp)
