"""Train a segmentation network on a fold's real training images under one arm; test it once, image by image.

Real images have masks. A translation keeps the geometry of its source image, so it gets the mask of its source. Every
arm has the same number of optimiser steps and the same initial weights. The best weights are selected by Dice over all
validation images, including those without lesions, where a false alarm scores 0. The test part is read once, at the
end. ``masks.csv`` has a row for every test image with a mask; its distances are in pixels of the original image, before
resizing.

``examples.npz`` has, without pickles, a few of them, the same for all arms: ``images`` uint8 [K, H, W, 3], ``true`` and
``found`` uint8 [K, H, W], ``maps`` float16 [K, H, W] in [0, 1], the Grad-CAM of the predicted mask ([0, H, W] if the
network allows none), ``labels`` int64 [K], ``paths`` unicode [K].
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bench import registry
from bench.data.loaders import FoldData, LabelledImages, Part, assemble_training_set, first_of_each, ratio_counts
from bench.data.masks import load_masks, pixel_spacing
from bench.data.synthetic_files import load_synthetic
from bench.errors import DataError, LeakageError
from bench.plan.plan import Cell
from bench.stages.common import Inputs, Output, RunEnv
from bench.stages.context import CellContext
from bench.stages.explain import choose
from bench.types import Size, SyntheticRecord

if TYPE_CHECKING:
    from bench.segmentation.smp_unet import SegmentationNetwork
    from bench.segmentation.trainer import MaskedImages

WEIGHTS, MASKS, EXAMPLES = "segmentation.safetensors", "masks.csv", "examples.npz"
SHOWN = 6  # number of test images in the examples, divided among the classes
ADVICE = "train on the training part and select on the validation part of the same fold"


def run(cell: Cell, env: RunEnv, ctx: CellContext) -> Output:
    """Train a segmentation network, score it on the test part; return metrics, costs and facts of the cell."""
    from bench.classifiers.weight_files import save_network
    from bench.metrics.overlap_table import mean_scores, read_outlined
    from bench.segmentation.smp_unet import build_segmentation_network
    from bench.segmentation.trainer import augmented, segment, train_segmentation

    inputs = Inputs(cell, env)
    config = inputs.settings.segmentation_networks[str(cell.classifier)]
    method = env.suite.method(str(cell.method))
    with ctx.phase("data"):
        fold = inputs.fold()
        train_validation = fold.train_validation()  # training and model selection have no access to the test part
        train, synthetic = training_images(inputs, train_validation)
        validation_part = train_validation.part("validation")
        train_validation.fold_parts.require(
            "the images for model selection", validation_part.source_images, "validation", ADVICE
        )
        validation = outlined(validation_part, inputs)[1]
    network = build_segmentation_network(config, env.weights)
    none = registry.load("method", "none")
    augmenter = method.create() if method.kind == "online" else none(none.Config())
    result = train_segmentation(network, train, validation, config, ctx, augmented(augmenter))
    save_network(network, ctx.folder / WEIGHTS)
    with ctx.phase("evaluate"):
        part, test = outlined(fold.part("test"), inputs)
        found = segment(network, test.images, env.device)
        spacing = pixel_spacing(inputs.index.root, part.records, inputs.settings.image_size_px, inputs.resize)
        score_masks(part, test.masks, found, spacing, inputs.index.classes, ctx.folder / MASKS)
        looks = keep_examples(network, part, test, found, inputs, ctx)
    scores = mean_scores(read_outlined(ctx.folder / MASKS), inputs.index.classes)
    metrics = {f"test/{name}": value for name, value in scores.items()}
    facts: dict[str, Any] = {"best_step": result.best_step, "parameters": result.parameters}
    facts |= {"real_images": len(train.images) - synthetic, "synthetic_images": synthetic, **looks}
    return Output(metrics={**metrics, "validation/dice": result.validation_score}, facts=facts)


def training_images(inputs: Inputs, fold: FoldData) -> tuple[MaskedImages, int]:
    """Return the fold's training images of the cell's arm that have masks, real ones first, and the number of
    synthetic.

    Raises ``LeakageError`` when a synthetic image is not from the training part, ``DataError`` when its source image is
    not recorded.
    """
    from bench.segmentation.trainer import MaskedImages

    cell = inputs.cell
    synthetic, chosen = None, list[SyntheticRecord]()
    counts: dict[int, int] = {}
    if cell.ratio != "0":
        synthetic = load_synthetic(inputs.upstream("synthesize"))
        counts = {k: n for k, n in ratio_counts(str(cell.ratio), fold.labels).items() if n}
        chosen = first_of_each(synthetic, counts, fold.classes)
    training: LabelledImages = assemble_training_set(fold, synthetic, counts)  # checks that all of it may be used
    training.fold_parts.require("the training set", training.source_images, "train", ADVICE)
    part, real = outlined(fold.part("train"), inputs)
    masks, rows = source_masks(chosen, inputs, fold)
    extra = training.images[training.is_synthetic][rows]
    if not len(part.records):
        raise DataError("no image of the training part has a mask, so training is impossible")
    return MaskedImages(np.concatenate([real.images, extra]), np.concatenate([real.masks, masks])), len(extra)


def source_masks(
    chosen: list[SyntheticRecord], inputs: Inputs, fold: FoldData
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.intp]]:
    """Return the masks uint8 [N, S, S] of the source images of synthetic ones, and the rows of these synthetic images.

    Images whose source has no mask are excluded. A mask is resized as the translating method resizes its images, then
    stretched to the suite's size, as the images are.
    """
    size_px = inputs.settings.image_size_px
    known = {r.path: r for r in fold.records}
    sources = []
    for record in chosen:
        if not record.source_path:
            raise DataError(f"{record.path} has no recorded source image, so it has no mask; run again")
        if record.source_path not in known:
            raise LeakageError(f"{record.path} was made from {record.source_path}, which is not in the training part")
        sources.append(known[record.source_path])
    rows = np.array([i for i, r in enumerate(sources) if r.mask_paths], dtype=np.intp)
    if not len(rows):
        return np.zeros((0, size_px, size_px), np.uint8), rows
    method = inputs.env.suite.method(str(inputs.cell.method)).create()
    resize = getattr(method, "resize", None) or inputs.settings.resize
    seen: Size = method.translation_size_px(size_px)
    masks = load_masks(inputs.index.root, [sources[i] for i in rows.tolist()], seen, resize)
    return stretched(masks, size_px), rows


def stretched(masks: npt.NDArray[np.uint8], size_px: int) -> npt.NDArray[np.uint8]:
    """Return masks uint8 [N, H, W] as [N, size_px, size_px], by nearest neighbour."""
    from PIL import Image

    if masks.shape[1:] == (size_px, size_px):
        return masks
    nearest = Image.Resampling.NEAREST
    return np.stack([np.asarray(Image.fromarray(m).resize((size_px, size_px), nearest)) for m in masks])


def outlined(part: Part, inputs: Inputs) -> tuple[Part, MaskedImages]:
    """Return the images of a part that have masks: as a part, and with their masks at the suite's size."""
    from bench.segmentation.trainer import MaskedImages

    rows = [i for i, r in enumerate(part.records) if r.mask_paths]
    records = tuple(part.records[i] for i in rows)
    kept = Part(records, part.images[rows], part.labels[rows], tuple(part.groups[i] for i in rows))
    masks = load_masks(inputs.index.root, records, inputs.settings.image_size_px, inputs.resize)
    return kept, MaskedImages(kept.images, masks)


def score_masks(
    part: Part,
    true: npt.NDArray[np.uint8],
    found: npt.NDArray[np.uint8],
    spacing: Sequence[tuple[float, float]],
    classes: tuple[str, ...],
    path: Path,
) -> None:
    """Write the scores of masks predicted for a part's images, [N, H, W] like the true ones, to a table.

    ``spacing`` is the pixel spacing in the original for each image (``bench.data.masks.pixel_spacing``).
    """
    from bench.metrics.overlap import dice, hausdorff95, iou
    from bench.metrics.overlap_table import Outlined, write_outlined

    rows = []
    for r, group, a, b, apart in zip(part.records, part.groups, true, found, spacing, strict=True):
        scores = dice(a, b), iou(a, b), hausdorff95(a, b, apart)
        rows.append(Outlined(r.path, group, classes[r.label], *scores, int(a.sum()), int(b.sum())))
    write_outlined(path, rows)


def keep_examples(
    network: SegmentationNetwork,
    part: Part,
    test: MaskedImages,
    found: npt.NDArray[np.uint8],
    inputs: Inputs,
    ctx: CellContext,
) -> dict[str, Any]:
    """Store a few test images with both masks and Grad-CAM maps, chosen by the seed: the same for every arm.

    Returns the layer that the maps were computed on.
    """
    from bench.classifiers.explain import NoLayerError
    from bench.segmentation.explain import deepest_layer, seg_grad_cam

    rows = choose(part, max(1, SHOWN // len(inputs.index.classes)), ctx.seed)
    images, looked = test.images[rows], found[rows]
    maps, facts = np.zeros((0, *looked.shape[1:]), np.float32), dict[str, Any]()
    try:
        layer = deepest_layer(network, images.shape[1:3], inputs.env.device)
        maps = seg_grad_cam(network, images, looked, layer, inputs.env.device)
        facts = {"layer": layer.name, "grid": list(layer.grid)}
    except NoLayerError as e:
        facts["no_maps"] = str(e)
    np.savez_compressed(
        ctx.folder / EXAMPLES,
        images=images,
        true=test.masks[rows],
        found=looked,
        maps=maps.astype(np.float16),
        labels=part.labels[rows],
        paths=np.array([part.records[i].path for i in rows.tolist()], dtype=np.str_),
    )
    return facts
