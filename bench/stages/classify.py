"""Fine-tune a classifier on real and synthetic training images; write its predictions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from bench import registry
from bench.context import CellContext
from bench.data.loaders import FoldData, Part, assemble_training_set, load_synthetic, ratio_counts
from bench.plan import NOCOPIES, Cell
from bench.provenance import FittedStatistics
from bench.stages.common import Inputs, Output, RunEnv
from bench.stages.copies import flagged_paths

NORMALISATION = "normalisation.json"


def run(cell: Cell, env: RunEnv, ctx: CellContext) -> Output:
    from bench.classifiers.trainer import predict, save_network, train_classifier
    from bench.metrics.predictions import Predictions, write_predictions

    inputs = Inputs(cell, env)
    with ctx.phase("data"):
        fold = inputs.fold()
        synthetic = None
        counts: Mapping[int, int] = {}
        copies: frozenset[str] = frozenset()
        ratio = str(cell.ratio)
        if cell.ratio != "0":
            synthetic = load_synthetic(inputs.upstream("synthesize"))
            counts = ratio_counts(ratio.removesuffix(NOCOPIES), fold.labels)
        if ratio.endswith(NOCOPIES):
            copies = flagged_paths(inputs.upstream("copies"), fold.borders)
        sealed = fold.sealed()  # what trains and chooses has no test part
        train, validation = assemble_training_set(sealed, synthetic, counts, copies), sealed.part("validation")
    method = env.suite.method(str(cell.method))
    online = method if method.kind == "online" else None
    augmenter = online.create() if online else _no_augmentation()
    spec = env.suite.classifier(str(cell.classifier))
    classes = inputs.index.classes
    classifier = spec.create()
    network = classifier.build(len(classes), env.suite.settings.image_size_px, env.weights)
    if getattr(spec.config, "normalisation", "fixed") == "training":
        normalise(network, sealed, ctx.folder / NORMALISATION)
    result = train_classifier(network, train, validation, len(classes), spec.config, augmenter, ctx)
    with ctx.phase("evaluate"):
        parts: dict[str, Part] = {"validation": validation, "test": fold.part("test")}
        y_prob = np.concatenate(
            [predict(network, p.images, env.device, spec.config.batch_size) for p in parts.values()]
        )
    write_predictions(
        ctx.folder / "predictions.csv",
        Predictions(
            image=tuple(r.path for p in parts.values() for r in p.records),
            group=tuple(g for p in parts.values() for g in p.groups),
            part=tuple(name for name, p in parts.items() for _ in p.records),
            fold=cell.fold,
            repeat=cell.repeat,
            y_true=np.concatenate([p.labels for p in parts.values()]),
            y_prob=y_prob,
            classes=classes,
        ),
    )
    save_network(network, ctx.folder / "classifier.safetensors")
    facts = {**asdict(result), "real_images": int((~train.is_synthetic).sum())}
    facts["synthetic_images"] = int(train.is_synthetic.sum())
    if ratio.endswith(NOCOPIES):
        facts["copies_dropped"] = sum(counts.values()) - facts["synthetic_images"]
    return Output(facts=facts)


def normalise(network: Any, fold: FoldData, path: Path) -> None:
    """Normalise the network's input by the statistics of the fold's real training images, kept at ``path``."""
    from bench.classifiers.normalisation import channel_statistics

    if not path.is_file():
        channel_statistics(fold.training).save(path)
    network.normalise_by(**FittedStatistics.load(path).for_fold(fold.borders))


def _no_augmentation() -> Any:
    cls = registry.load("method", "none")
    return cls(cls.Config())
