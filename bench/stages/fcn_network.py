"""Train the segmentation network of the FCN score on a fold's real training images; all methods share it.

The best weights are selected on the validation part. Test images are read once, at the end, for the network's score on
real images, which is the upper reference for translations.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bench.data.loaders import Part
from bench.data.masks import load_masks
from bench.plan.plan import Cell
from bench.stages.common import Inputs, Output, RunEnv
from bench.stages.context import CellContext

if TYPE_CHECKING:
    from bench.segmentation.trainer import MaskedImages

NETWORK = "segmentation.safetensors"
TRUE, THRESHOLD, NONE = "true", "haematoxylin threshold", "none"
REFERENCE = {TRUE: "true masks", THRESHOLD: "own prediction on the source image"}
SHOWN = 6  # number of test images in the sample picture


def run(cell: Cell, env: RunEnv, ctx: CellContext) -> Output:
    """Train the segmentation network that scores translations; return metrics, costs and facts of the cell."""
    from bench.classifiers.weight_files import save_network
    from bench.segmentation.network import UNet
    from bench.segmentation.trainer import evaluate, segment, train_segmentation

    inputs, config = Inputs(cell, env), env.suite.settings.segmentation
    with ctx.phase("data"):
        fold = inputs.fold()
        train_validation = fold.train_validation()
        train, validation = train_validation.part("train"), train_validation.part("validation")
        masks, why = choose_masks(inputs, train, validation)
        if masks == NONE:
            return Output(facts={"masks": masks, "no_fcn_score": why})
        learnt, selection = (masked(part, masks, inputs) for part in (train, validation))
    network = UNet(config.filters)
    result = train_segmentation(network, learnt, selection, config, ctx)
    save_network(network, ctx.folder / NETWORK)
    with ctx.phase("evaluate"):
        test = masked(fold.part("test"), masks, inputs)
        score = evaluate(network, test, env.device) if len(test.images) else {}
        if score:
            shown = np.unique(np.linspace(0, len(test.images) - 1, SHOWN).astype(int))
            found = segment(network, test.images[shown], env.device)
            columns = [test.images[shown], _as_images(test.masks[shown]), _as_images(found)]
            ctx.save_images("image_mask_prediction", result.best_step, np.concatenate(columns, axis=2))
    metrics = {"fcn_score/validation_iou": result.validation_score}
    metrics |= {f"fcn_score/real_test_{name}": value for name, value in score.items()}
    facts: dict[str, Any] = {"masks": masks, "fcn_reference": REFERENCE[masks], "best_step": result.best_step}
    facts |= {"parameters": result.parameters, "training_images": len(learnt.images)}
    return Output(metrics=metrics, facts=facts)


def choose_masks(inputs: Inputs, train: Part, validation: Part) -> tuple[str, str]:
    """Return the kind of masks available for training (TRUE, THRESHOLD or NONE), and the reason for NONE."""
    if all(any(r.mask_paths for r in part.records) for part in (train, validation)):
        return TRUE, ""
    wanted = inputs.settings.segmentation.pseudo_masks
    if wanted == "off":
        return NONE, "no true masks, and segmentation.pseudo_masks is off"
    if wanted == "auto" and not getattr(inputs.env.suite.dataset.create(), "haematoxylin", False):
        return NONE, "no true masks, and the dataset does not declare a haematoxylin stain"
    if (train.images == train.images[..., :1]).all():
        return NONE, "no true masks, and the images are grey: haematoxylin cannot be distinguished from other dyes"
    return THRESHOLD, ""


def masked(part: Part, masks: str, inputs: Inputs) -> MaskedImages:
    """Return the images of a part that have masks of that kind, with the masks, at the suite's size."""
    from bench.segmentation.pseudo_masks import nuclear_masks
    from bench.segmentation.trainer import MaskedImages

    if masks == THRESHOLD:
        dab = getattr(inputs.env.suite.dataset.create(), "dab", False)
        return MaskedImages(part.images, nuclear_masks(part.images, dab))
    rows = [i for i, r in enumerate(part.records) if r.mask_paths]
    records = [part.records[i] for i in rows]
    found = load_masks(inputs.index.root, records, inputs.settings.image_size_px, inputs.resize)
    return MaskedImages(part.images[rows], found)


def _as_images(masks: np.ndarray) -> np.ndarray:
    """Return masks [N, H, W] as black-and-white images uint8 [N, H, W, 3]."""
    return np.repeat(masks[..., None] * np.uint8(255), 3, axis=-1)
