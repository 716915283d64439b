"""The score for model selection, computed on validation predictions only."""

from __future__ import annotations

from bench.errors import ConfigError, LeakageError, nearest
from bench.leakage import FoldParts, SourceImages
from bench.metrics.classification import classification_metrics
from bench.metrics.predictions import Predictions
from bench.metrics.units import LOWER_IS_BETTER

NEGATED = ("ece", *LOWER_IS_BETTER)


def selection_score(
    predictions: Predictions, metric: str = "balanced_accuracy", fold_parts: FoldParts | None = None
) -> float:
    """Return a metric of ``classification_metrics`` on validation predictions; higher is better.

    (ece, brier and log_loss are therefore negated.) Raises ``LeakageError`` when any row is of the test part, by its
    ``part`` or, if ``fold_parts`` are given, by its image or patient, even if its ``part`` says validation;
    ``ConfigError`` for an unknown metric, ``DataError`` when there are no rows.
    """
    check_selectable(predictions, fold_parts)
    p, per_group = predictions, metric.startswith("patient_")
    scores = classification_metrics(p.y_true, p.y_prob, p.group, p.classes, per_group=per_group)
    if metric not in scores:
        raise ConfigError(f"nothing can be selected by {metric!r}; {nearest(metric, scores)}")
    return -scores[metric] if metric.removeprefix("patient_") in NEGATED else scores[metric]


def check_selectable(predictions: Predictions, fold_parts: FoldParts | None) -> None:
    """Raise ``LeakageError`` unless every row is of the validation part."""
    test = [image for image, part in zip(predictions.image, predictions.part, strict=True) if part != "validation"]
    if test:
        raise LeakageError(
            f"fold {predictions.fold}: model selection got {len(test)} predictions of the test part, such as that "
            f"of {test[0]}; it may use validation only: take predictions.select('validation')"
        )
    if fold_parts is not None and predictions.image:
        source_images = SourceImages(frozenset(predictions.group), frozenset(predictions.image))
        fold_parts.require(
            "the predictions for a selection", source_images, "validation", "select on the validation part only"
        )
