"""Classification metrics per image and per patient, binary and multi-class, on plain arrays.

Conventions, the same for every function here:

- The prediction is the class of the largest probability (ties: the class of lower index).
- Two classes: the one of index ``positive`` is the positive one. More: one against rest, averaged over classes (macro),
  and each class separately.
- Undefined values are NaN, never 0 or 1: a recall, AUROC or balanced accuracy when a class has no image. The precision
  of a class that has images and was never predicted (0/0) is 0, as in scikit-learn; if it were excluded, a mean over
  folds would only use folds where the class was found. F1 = 2TP / (2TP + FP + FN) is then 0 by its formula. MCC is 0
  when all images get one class, which is its limit (Chicco & Jurman 2020). Empty input raises ``DataError``.
- A patient's probabilities are the mean of its images' probabilities, its prediction the largest of them. A group with
  images of several classes has no single class and is not scored as one unit (``bench.metrics.units``).
- Macro averages run over all C classes; if one of them is undefined, so is the average.

Sources: sensitivity to F1 and their macro averages as in Sokolova & Lapalme (2009), AUROC as in Hanley & McNeil (1982),
average precision as in scikit-learn; the others are given in their functions.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from bench.errors import DataError
from bench.metrics.calibration import brier_score, check_probabilities, expected_calibration_error, log_loss
from bench.metrics.units import group_labels, group_places

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
CONFUSION_METRICS = ("balanced_accuracy", "accuracy", "sensitivity", "specificity", "precision", "f1", "mcc")
METRICS = (*CONFUSION_METRICS, "auroc", "auprc", "ece", "brier", "log_loss")
CLASS_METRICS = ("recall", "precision", "f1", "auroc")


def classification_metrics(
    y_true: npt.ArrayLike,
    y_prob: npt.ArrayLike,
    groups: Sequence[object],
    classes: Sequence[str] | None = None,
    positive: int = 1,
    per_group: bool = True,
) -> dict[str, float]:
    """Return every metric of one part of one fold.

    ``y_true`` int [N] in 0..C-1, ``y_prob`` float [N, C] with rows that sum to 1, ``groups`` [N] the patients;
    ``positive`` is the index of the positive one of two classes. All values are in [0, 1], mcc in [-1, 1], brier of
    more than two classes in [0, 2], log_loss in [0, 13.8]. Keys: those of ``METRICS`` per image; with ``per_group`` as
    patient_<metric> per patient, and patient_score; for more than two classes <metric>_<class> and
    patient_<metric>_<class> with the names in ``CLASS_METRICS`` (``classes`` names the classes, else their index).
    Raises ``DataError`` when the arrays are empty or inconsistent, and with ``per_group`` when a group has images of
    several classes.
    """
    truth, prob = check_arrays(y_true, y_prob, groups)
    names = [str(c) for c in (range(prob.shape[1]) if classes is None else classes)]
    if len(names) != prob.shape[1]:
        raise DataError(f"expected one name for each of {prob.shape[1]} classes; got {names}")
    if not 0 <= positive < len(names):
        raise DataError(f"positive is {positive}; expected the index of one of {len(names)} classes")
    per_image = _scores(truth, prob, names, positive)
    if not per_group:
        return per_image
    patient = _scores(*patient_predictions(truth, prob, groups), names, positive)
    return {
        **per_image,
        "patient_score": patient_score(truth, prob, groups),
        **{f"patient_{name}": value for name, value in patient.items()},
    }


def check_arrays(y_true: npt.ArrayLike, y_prob: npt.ArrayLike, groups: Sequence[object]) -> tuple[Ints, Floats]:
    """Return int64 [N] and float64 [N, C]. Raises ``DataError`` on empty or inconsistent input."""
    truth, prob = check_probabilities(y_true, y_prob)
    if len(groups) != len(truth):
        raise DataError(f"expected groups [N], one per row of y_true; got {len(groups)} groups of {len(truth)} rows")
    return truth, prob


def patient_predictions(y_true: Ints, y_prob: Floats, groups: Sequence[object]) -> tuple[Ints, Floats]:
    """Return label int64 [P] and mean probability float64 [P, C] of each group, sorted by its name.

    Raises ``DataError`` when a group has images of several classes.
    """
    labels, unit = group_labels(y_true, groups), group_places(groups)
    total = np.zeros((len(labels), y_prob.shape[1]))
    np.add.at(total, unit, y_prob)
    return labels, total / np.bincount(unit)[:, None]


def patient_score(y_true: Ints, y_prob: Floats, groups: Sequence[object]) -> float:
    """Return Spanhol et al.'s (2016, eq. 1 and 2) patient-level recognition rate, in [0, 1].

    The mean over patients of the share of correctly classified images.
    """
    unit = group_places(groups)
    right = np.bincount(unit, weights=y_prob.argmax(axis=1) == y_true)
    return float((right / np.bincount(unit)).mean())


def confusion_matrix(y_true: Ints, y_prob: Floats) -> Floats:
    """Return counts [C, C]: rows are the truth, columns the prediction."""
    c = y_prob.shape[1]
    return np.bincount(y_true * c + y_prob.argmax(axis=1), minlength=c * c).reshape(c, c).astype(np.float64)


def per_class_recall(matrix: Floats) -> Floats:
    """Return TP / (TP + FN) of each class, [..., C], of matrices [..., C, C]; NaN for a class without images."""
    return _ratio(np.diagonal(matrix, axis1=-2, axis2=-1), matrix.sum(axis=-1))


def confusion_metrics(matrix: Floats, positive: int = 1) -> dict[str, Floats]:
    """Return the metrics of confusion matrices [..., C, C], each value [...]; keys are ``CONFUSION_METRICS``.

    Of class ``positive`` for two classes, else the mean of ``class_confusion_metrics``. Balanced accuracy is the mean
    of the classes' recalls (Brodersen et al. 2010). mcc is Gorodkin's (2004) R_K, which equals Matthews' for two
    classes. For classes that are absent or never predicted see the module docstring.
    """
    hit = np.diagonal(matrix, axis1=-2, axis2=-1).sum(axis=-1)
    of_class, predicted = matrix.sum(axis=-1), matrix.sum(axis=-2)
    n = of_class.sum(axis=-1)
    per_class = class_confusion_metrics(matrix)
    result = {"balanced_accuracy": per_class["recall"].mean(axis=-1), "accuracy": _ratio(hit, n)}
    for name, source in (("sensitivity", "recall"), *((k, k) for k in ("specificity", "precision", "f1"))):
        values = per_class[source]
        result[name] = values[..., positive] if values.shape[-1] == 2 else values.mean(axis=-1)
    spread_true, spread_predicted = n**2 - (of_class**2).sum(axis=-1), n**2 - (predicted**2).sum(axis=-1)
    mcc = _ratio(n * hit - (of_class * predicted).sum(axis=-1), np.sqrt(spread_true * spread_predicted))
    mcc = np.where(spread_predicted > 0, mcc, 0.0)
    return result | {"mcc": np.where(spread_true > 0, mcc, np.nan)}


def class_confusion_metrics(matrix: Floats) -> dict[str, Floats]:
    """Return recall, specificity, precision and f1 of each class, [..., C], of matrices [..., C, C].

    Recall (sensitivity) TP / (TP + FN), specificity TN / (TN + FP), precision TP / (TP + FP), f1 2TP / (2TP + FP + FN);
    each in [0, 1], or NaN for 0/0, and f1 also if the class has no image; precision is 0 if a class that has images was
    never predicted.
    """
    hit = np.diagonal(matrix, axis1=-2, axis2=-1)
    of_class, predicted = matrix.sum(axis=-1), matrix.sum(axis=-2)
    rest = of_class.sum(axis=-1, keepdims=True) - of_class
    return {
        "recall": per_class_recall(matrix),
        "specificity": _ratio(rest - predicted + hit, rest),
        "precision": np.where((predicted == 0) & (of_class > 0), 0.0, _ratio(hit, predicted)),
        "f1": np.where(of_class > 0, _ratio(2 * hit, of_class + predicted), np.nan),
    }


def class_ranking_metrics(y_true: Ints, y_prob: Floats) -> dict[str, Floats]:
    """Return auroc and auprc of each class against the rest, [C], in [0, 1]; NaN when it has no image, or all of them.

    auroc = P(score of a positive > score of a negative) + P(equal) / 2. auprc is the average precision sum_n (R_n -
    R_n-1) P_n over thresholds, not interpolated. Its chance level is the share of positives, so values are comparable
    only for the same test set.
    """
    from sklearn.metrics import average_precision_score, roc_auc_score

    c, n = y_prob.shape[1], len(y_true)
    result = {"auroc": np.full(c, np.nan), "auprc": np.full(c, np.nan)}
    for k in range(c):
        positive = y_true == k
        if 0 < positive.sum() < n:
            result["auroc"][k] = roc_auc_score(positive, y_prob[:, k])
            result["auprc"][k] = average_precision_score(positive, y_prob[:, k])
    return result


def _ratio(top: Floats, bottom: Floats) -> Floats:
    """Divide; 0/0 is NaN."""
    return np.divide(top, bottom, out=np.full(np.shape(top), np.nan), where=bottom > 0)


def _scores(y_true: Ints, y_prob: Floats, names: Sequence[str], positive: int) -> dict[str, float]:
    """Return ``METRICS``, and those of each class where there are more than two."""
    matrix, ranking = confusion_matrix(y_true, y_prob), class_ranking_metrics(y_true, y_prob)
    result = {k: float(v) for k, v in confusion_metrics(matrix, positive).items()}
    result |= {k: float(v[positive] if len(v) == 2 else v.mean()) for k, v in ranking.items()}
    result |= {"ece": expected_calibration_error(y_true, y_prob), "brier": brier_score(y_true, y_prob)}
    result["log_loss"] = log_loss(y_true, y_prob)
    if len(names) > 2:
        of_class = class_confusion_metrics(matrix) | ranking
        for metric in CLASS_METRICS:
            result |= {f"{metric}_{n}": float(v) for n, v in zip(names, of_class[metric], strict=True)}
    return result
