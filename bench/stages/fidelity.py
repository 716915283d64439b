"""Judge synthetic images by features: against the fold's real training and test images."""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.context import CellContext
from bench.data.loaders import assemble_training_set, load_synthetic
from bench.plan import Cell
from bench.stages.common import Features, Inputs, Output, RunEnv


def run(cell: Cell, env: RunEnv, ctx: CellContext) -> Output:
    from bench.metrics.fidelity import fidelity_metrics

    inputs = Inputs(cell, env)
    features = Features(env)
    fold = inputs.fold()
    synthetic = load_synthetic(inputs.upstream("synthesize"))
    counts = {int(y): int(n) for y, n in zip(*np.unique(fold.labels, return_counts=True), strict=True)}
    available = {y: sum(r.label == y for r in synthetic.records) for y in counts}
    counts = {y: min(n, available[y]) for y, n in counts.items() if available[y]}  # up to one synthetic per real image
    both = assemble_training_set(fold, synthetic, counts)
    made = both.images[both.is_synthetic]
    metrics: dict[str, float] = {}
    facts: dict[str, Any] = {"extractor": features.tag, "synthetic_images": len(made)}

    with ctx.phase("evaluate"):
        fake = features(made)
        real: dict[str, np.ndarray] = {}
        for part, chosen in (("train", fold.part("train")), ("test", fold.part("test"))):
            real[part] = features(chosen.images[np.isin(chosen.labels, list(counts))])
            for name, value in fidelity_metrics(real[part], fake).items():
                metrics[f"synthetic/{part}/{name}_{features.tag}"] = value
        for name, value in fidelity_metrics(real["test"], real["train"]).items():
            metrics[f"real/test/{name}_{features.tag}"] = value  # the floor: real training against real test images
    return Output(metrics=metrics, facts=facts)
