"""Compare synthetic images with the fold's real training and test images in a feature space.

Metrics, for the extractor's tag t (definitions in ``bench.metrics.fidelity`` and neighbouring modules):

- ``synthetic/<train|test>/<fid|kid|precision|…>_t``: all synthetic images against all real ones of that part;
- ``real_baseline/<train|test>/<…>_t``: the real-vs-real baseline, i.e. real images of other patients in their place,
  at the sizes n_synthetic and n_real of the same prefix; ``at_real_baseline/<train|test>/<…>_t``: synthetic images at
  those sizes (``bench.metrics.real_baseline``);
- ``synthetic/is_t`` and ``real/train/is_t``: inception score, of as many real training images;
- ``synthetic/diversity_t`` and ``real/train/diversity_t``: mean perceptual distance within a class;
- ``synthetic/label_agreement_t``: share of images that a classifier of the real training images gives their label;
  ``real/test/label_agreement_t``: that of real test images; ``other_class/test/label_agreement_t``: that of real test
  images of other classes, with these labels (``bench.metrics.label_agreement``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bench.data.loaders import FoldData, assemble_training_set
from bench.data.synthetic_files import load_synthetic
from bench.leakage import PARTS
from bench.plan.plan import Cell
from bench.stages.common import Features, Inputs, Output, RunEnv
from bench.stages.context import CellContext

if TYPE_CHECKING:
    from bench.metrics.features import Embedding

    Labelled = tuple[Embedding, npt.NDArray[np.int64]]


def run(cell: Cell, env: RunEnv, ctx: CellContext) -> Output:
    """Compare synthetic with real images by their features; return metrics, costs and facts of the cell."""
    from bench.metrics.real_baseline import counts_of

    inputs = Inputs(cell, env)
    features = Features(env)
    fold = inputs.fold()
    synthetic = load_synthetic(inputs.upstream("synthesize"))
    available = counts_of(np.array([r.label for r in synthetic.records], dtype=np.int64))
    counts = {y: min(n, available[y]) for y, n in counts_of(fold.labels).items() if y in available}
    both = assemble_training_set(fold, synthetic, counts)  # at most one synthetic image per real image
    made, labels = both.images[both.is_synthetic], both.labels[both.is_synthetic]
    with ctx.phase("evaluate"):
        scores = _evaluate(features, made, labels, fold, np.random.default_rng(ctx.seed))
    metrics = {f"{name}_{features.tag}": value for name, value in scores.items()}
    return Output(metrics=metrics, facts={"extractor": features.tag, "synthetic_images": len(made)})


def _evaluate(
    features: Features,
    made: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.int64],
    fold: FoldData,
    rng: np.random.Generator,
) -> dict[str, float]:
    """Return every score of the synthetic and the real images, by name without the tag."""
    from bench.metrics.diversity import mean_diversity
    from bench.metrics.fidelity import fidelity_metrics
    from bench.metrics.inception_score import inception_score
    from bench.metrics.real_baseline import counts_of, draw_rows, matched_counts, real_baseline_metrics

    counts = counts_of(labels)
    fake = features.embed(made, labels)
    whole, real, truth = {}, {}, {}  # a part; its features and labels of the classes with synthetic images
    for part in PARTS:
        chosen = fold.part(part)
        rows = np.isin(chosen.labels, list(counts))
        if rows.any() or part != "validation":
            whole[part] = features.embed(chosen.images, chosen.labels), chosen.labels
            real[part], truth[part] = whole[part][0].features[rows], chosen.labels[rows]
    against = {part: fidelity_metrics(real[part], fake.features) for part in ("train", "test")}

    standing_in = draw_rows(truth["train"], counts, rng)  # in place of the synthetic images, against test images
    real_baseline_test = real_baseline_metrics(real["test"], real["train"][standing_in])
    held_out = [part for part in ("validation", "test") if part in real]
    others = np.concatenate([real[part] for part in held_out])
    others_truth = np.concatenate([truth[part] for part in held_out])
    common = matched_counts(counts, counts_of(others_truth))
    real_baseline_train = real_baseline_metrics(real["train"], others[draw_rows(others_truth, common, rng)])
    at_real_baseline_train = real_baseline_metrics(real["train"], fake.features[draw_rows(labels, common, rng)])
    training, training_labels = whole["train"]
    training_logits = training.logits[np.isin(training_labels, list(counts))]

    scored = {
        "synthetic/train": against["train"],
        "synthetic/test": against["test"],
        "real_baseline/train": real_baseline_train,
        "real_baseline/test": real_baseline_test,
        "at_real_baseline/train": at_real_baseline_train,
        "at_real_baseline/test": against["test"],
        "synthetic": {"is": inception_score(fake.logits), "diversity": mean_diversity(fake.diversity, counts)},
        "real/train": {
            "is": inception_score(training_logits[standing_in]),
            "diversity": mean_diversity(training.diversity, counts),
        },
    }
    found = {f"{where}/{name}": value for where, each in scored.items() for name, value in each.items()}
    return found | _label_agreement((fake, labels), *(whole[part] for part in ("train", "test")))


def _label_agreement(made: Labelled, train: Labelled, test: Labelled) -> dict[str, float]:
    """Return the label agreement of synthetic images, of real test images, and of those of other classes.

    The classifier knows all classes, also those without synthetic images.
    """
    from bench.metrics.label_agreement import feature_classifier, label_agreement, mistaken_share

    classifier = feature_classifier(train[0].features, train[1])
    real, truth, labels = test[0].features, test[1], made[1]
    classes = np.unique(labels)
    same = np.isin(truth, classes)
    return {
        "synthetic/label_agreement": label_agreement(classifier, made[0].features, labels),
        "real/test/label_agreement": label_agreement(classifier, real[same], truth[same]),
        "other_class/test/label_agreement": mistaken_share(classifier, real, truth, classes),
    }
