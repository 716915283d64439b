"""Fine-tune a classifier on real and synthetic training images; write its predictions."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.cost.keys import CostKey
from bench.data.loaders import FoldData, Part, assemble_training_set, ratio_counts
from bench.leakage import FittedStatistics
from bench.metrics.predictions import HELD_OUT
from bench.plan.plan import Cell, classifier_of, validation_cell
from bench.stages.augmentation import STATISTICS, augmenter_of, prepared
from bench.stages.common import Inputs, Output, RunEnv
from bench.stages.context import CellContext
from bench.stages.memorised import flagged_paths
from bench.stages.select import synthetic_of
from bench.store.history import HISTORY
from bench.suite.suite import PluginSpec

if TYPE_CHECKING:
    from torch import nn

NORMALISATION, WEIGHTS = "normalisation.json", "classifier.safetensors"
MADE_BY = ("git_commit", "host", "versions")  # facts of every cell, for this cell


def run(cell: Cell, env: RunEnv, ctx: CellContext) -> Output:
    """Train a classifier on its training set, predict other parts; return metrics, costs and facts of the cell."""
    inputs = Inputs(cell, env)
    with ctx.phase("data"):
        fold = inputs.fold()
        train_validation = fold.train_validation()  # training and model selection have no access to the test part
    tuned = validation_cell(cell)
    costs: dict[str, float] = {}
    if inputs.artifacts.is_done(*tuned.id):
        network, facts, costs = take_over(inputs, tuned, ctx)
    else:
        network, facts = train(inputs, train_validation, ctx)
    parts = {"validation": train_validation.part("validation"), "test": fold.part("test")}
    if inputs.settings.split.predicts_unused:
        parts = {"validation": parts["validation"], HELD_OUT: fold.held_out()}
    predict_parts(network, parts, fold, inputs, ctx)
    return Output(costs=costs, facts=facts)


def train(inputs: Inputs, train_validation: FoldData, ctx: CellContext) -> tuple[nn.Module, dict[str, Any]]:
    """Fine-tune the cell's classifier on the train/validation view; store its weights; return it and its facts."""
    from bench.classifiers.trainer import train_classifier
    from bench.classifiers.weight_files import save_network

    cell, env = inputs.cell, inputs.env
    with ctx.phase("data"):
        synthetic = None
        counts: Mapping[int, int] = {}
        memorised: frozenset[str] = frozenset()
        arm = cell.arm
        if arm.ratio != "0":
            synthetic = synthetic_of(inputs, train_validation.fold_parts)
            counts = ratio_counts(arm.ratio, train_validation.labels)
        if arm.exclude_memorised:
            memorised = flagged_paths(inputs.upstream("memorised"), train_validation.fold_parts)
        training, validation = (
            assemble_training_set(train_validation, synthetic, counts, memorised),
            train_validation.part("validation"),
        )
        augmenter = augmenter_of(env.suite.method(str(cell.method)), train_validation, ctx.folder)
        training = replace(training, images=prepared(augmenter, training.images, env.device))
        validation = validation._replace(images=prepared(augmenter, validation.images, env.device))
    spec = _classifier(inputs)
    network = _build(inputs, spec)
    if getattr(spec.config, "normalisation", "fixed") == "training":
        normalise(network, train_validation, ctx.folder / NORMALISATION)
    result = train_classifier(network, training, validation, len(inputs.index.classes), spec.config, augmenter, ctx)
    save_network(network, ctx.folder / WEIGHTS)
    facts = {**asdict(result), "real_images": int((~training.is_synthetic).sum())}
    facts["synthetic_images"] = int(training.is_synthetic.sum())
    if arm.exclude_memorised:
        facts["memorised_dropped"] = sum(counts.values()) - facts["synthetic_images"]
    return network, facts


def take_over(inputs: Inputs, tuned: Cell, ctx: CellContext) -> tuple[nn.Module, dict[str, Any], dict[str, float]]:
    """Return the network that tuning trained for this cell, its facts, and its peak memory.

    Its seconds count as this cell's, so that no arm gets free training.
    """
    folder, done = inputs.artifacts.folder(*tuned.id), inputs.artifacts.result(*tuned.id)
    for name in (WEIGHTS, HISTORY, NORMALISATION, STATISTICS):
        if (folder / name).is_file():
            shutil.copyfile(folder / name, ctx.folder / name)
    ctx.count(done["costs"])
    peak_keys = (CostKey.PEAK_MEMORY_BYTES, CostKey.PEAK_RESERVED_BYTES)
    peaks = {key: value for key, value in done["costs"].items() if key in peak_keys}
    return trained_network(inputs, ctx.folder), {k: v for k, v in done["facts"].items() if k not in MADE_BY}, peaks


def trained_network(inputs: Inputs, folder: Path) -> nn.Module:
    """Return the cell's classifier with the weights, including the normalisation, of a finished training.

    Pretrained weights are read only for a network whose stored weights leave out its backbone.
    """
    from bench.classifiers.weight_files import load_network

    spec = _classifier(inputs)
    complete = spec.config.saves_backbone
    network = _build(inputs, replace(spec, config=replace(spec.config, pretrained=False)) if complete else spec)
    load_network(network, folder / WEIGHTS)
    return network


def predict_parts(
    network: nn.Module, parts: Mapping[str, Part], fold: FoldData, inputs: Inputs, ctx: CellContext
) -> None:
    """Write the network's predictions on the parts of the cell's fold to ``predictions.csv``."""
    from bench.classifiers.trainer import predict
    from bench.metrics.predictions import Predictions, write_predictions

    cell, batch_size, device = inputs.cell, _classifier(inputs).config.batch_size, inputs.env.device
    augmenter = augmenter_of(inputs.env.suite.method(str(cell.method)), fold, ctx.folder)
    with ctx.phase("evaluate"):
        images = [prepared(augmenter, p.images, device) for p in parts.values()]
        y_prob = [predict(network, x, device, batch_size, ctx.cache) for x in images]
    write_predictions(
        ctx.folder / "predictions.csv",
        Predictions(
            image=tuple(r.path for p in parts.values() for r in p.records),
            group=tuple(g for p in parts.values() for g in p.groups),
            part=tuple(name for name, p in parts.items() for _ in p.records),
            fold=cell.fold,
            repeat=cell.repeat,
            y_true=np.concatenate([p.labels for p in parts.values()]),
            y_prob=np.concatenate(y_prob),
            classes=inputs.index.classes,
        ),
    )


def _classifier(inputs: Inputs) -> PluginSpec:
    cell = inputs.cell
    return classifier_of(inputs.env.suite, str(cell.classifier), cell.method, cell.ratio)


def _build(inputs: Inputs, spec: PluginSpec) -> nn.Module:
    size_px = inputs.env.suite.settings.image_size_px
    network: nn.Module = spec.create().build(len(inputs.index.classes), size_px, inputs.env.weights)
    return network


def normalise(network: Any, fold: FoldData, path: Path) -> None:
    """Normalise the network's input by the statistics of the fold's real training images, stored at ``path``."""
    from bench.classifiers.normalisation import channel_statistics

    if not path.is_file():
        channel_statistics(fold.training).save(path)
    network.normalise_by(**FittedStatistics.load(path).for_fold(fold.fold_parts))
