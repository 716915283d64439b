"""Classify the fold's test images with the discriminator of a generative method, and score the saved table.

For a TL-S-CycleGAN this is the evaluation of its authors: by the class head of a discriminator, or, without one, by its
real/fake output. Metrics: ``test/<…>`` per image as in stage evaluate.
"""

from __future__ import annotations

import numpy as np

from bench.abilities import SelfClassifier
from bench.data.loaders import check_generator
from bench.data.synthetic_files import load_seen
from bench.plan.plan import Cell
from bench.stages.common import Inputs, Output, RunEnv
from bench.stages.context import CellContext

TABLE = "predictions.csv"


def run(cell: Cell, env: RunEnv, ctx: CellContext) -> Output:
    """Classify the test images with a generator's discriminator; return metrics, costs and facts of the cell."""
    from bench.metrics.classification import classification_metrics
    from bench.metrics.predictions import Predictions, read_predictions, write_predictions

    inputs = Inputs(cell, env)
    fold, fitted = inputs.fold(), inputs.upstream("fit")
    check_generator(fitted, load_seen(fitted), fold.fold_parts)  # the method must not be tested on its training images
    method: SelfClassifier = env.suite.method(str(cell.method)).create()
    test = fold.part("test", method.translation_size_px(env.suite.settings.image_size_px))
    with ctx.phase("evaluate"):
        y_prob = np.asarray(method.classify(test.images, fitted, ctx), dtype=np.float64)
    names = tuple(r.path for r in test.records)
    part, classes = ("test",) * len(names), inputs.index.classes
    table = Predictions(names, test.groups, part, cell.fold, cell.repeat, test.labels, y_prob, classes)
    write_predictions(ctx.folder / TABLE, table)
    p = read_predictions(ctx.folder / TABLE, "test")
    positive = inputs.index.positive_label
    found = classification_metrics(p.y_true, p.y_prob, p.group, p.classes, positive, per_group=False)
    path = str((inputs.artifacts.folder(*cell.id) / TABLE).relative_to(env.out))
    facts = {
        "predictions": path,
        "discriminator_classifier": method.discriminator_classifier,
        "test_images": len(names),
    }
    return Output({f"test/{k}": v for k, v in found.items()}, facts=facts)
