"""The FCN score of translated images: how well a segmentation network trained on real images segments them.

Isola et al. 2017, "Image-to-Image Translation with Conditional Adversarial Networks", section 5.1; the measures are
those of Long et al. 2015, "Fully Convolutional Networks for Semantic Segmentation", section 5. All are computed from
one confusion matrix over all pixels of all images.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bench.errors import DataError

Counts = npt.NDArray[np.int64]
Masks = npt.NDArray[np.uint8]


def confusion(reference: Masks, predicted: Masks, classes: int = 2) -> Counts:
    """Return pixel counts int64 [N, C, C] of label maps uint8 [N, H, W] with values 0..C-1, one matrix per image.

    Entry [k, i, j]: pixels of class i in the reference that were predicted as j. Their sum over k is the total matrix.
    """
    if reference.shape != predicted.shape or reference.ndim != 3:
        raise DataError(f"label maps: got {reference.shape} and {predicted.shape}, expected two of [N, H, W]")
    highest = max(int(reference.max(initial=0)), int(predicted.max(initial=0)))
    if highest >= classes:
        raise DataError(f"label maps: got a class {highest}, expected 0 to {classes - 1}")
    pairs = [
        np.bincount((r.astype(np.int64) * classes + p).ravel(), minlength=classes**2)
        for r, p in zip(reference, predicted, strict=True)
    ]
    return np.array(pairs, dtype=np.int64).reshape(len(reference), classes, classes)


def fcn_score(matrix: Counts) -> dict[str, float]:
    """Return the FCN score of a confusion matrix int64 [C, C]; all in [0, 1], higher is better.

    With n_ij pixels of class i predicted as j and t_i = sum_j n_ij (Long et al. 2015, section 5): pixel_accuracy =
    sum_i n_ii / sum_i t_i; class_accuracy = mean_i n_ii / t_i over the classes in the reference; iou = mean_i n_ii /
    (t_i + sum_j n_ji - n_ii) over the classes in the reference or the prediction; foreground_iou: the same quotient of
    class 1 alone (the background is easy and raises the mean where lesions are small). NaN if there is no pixel.
    """
    right, true, predicted = np.diag(matrix).astype(np.float64), matrix.sum(axis=1), matrix.sum(axis=0)
    union = true + predicted - right
    with np.errstate(invalid="ignore", divide="ignore"):
        iou, recall = right / union, right / true
    return {
        "iou": _mean(iou[union > 0]),
        "pixel_accuracy": float(right.sum() / true.sum()) if true.sum() else float("nan"),
        "class_accuracy": _mean(recall[true > 0]),
        "foreground_iou": float(iou[1]) if union[1] else float("nan"),
    }


def _mean(values: npt.NDArray[np.float64]) -> float:
    return float(values.mean()) if len(values) else float("nan")
