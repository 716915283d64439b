"""Classification metrics per image and per patient, binary and multi-class, on plain arrays.

Conventions, the same for every function here:

- The prediction is the class of the largest probability (ties: the class of lower index).
- Two classes: class 1 (malignant) is the positive one. More: one against rest, averaged over classes (macro).
- What is undefined is NaN, never 0 or 1: a recall, AUROC or balanced accuracy when a class has no image; the precision
  of a class that was never predicted (0/0). F1 = 2TP / (2TP + FP + FN) is 0 then, as the formula says; MCC is 0 when
  every image got one class, which is its limit (Chicco & Jurman 2020).
- A patient is a pair (group, label): a group that has images of two labels counts once for each.
- Macro averages run over all C classes; if one of them is undefined, so is the average.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from bench.errors import DataError
from bench.metrics.calibration import brier_score, expected_calibration_error

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
CONFUSION_METRICS = ("balanced_accuracy", "accuracy", "sensitivity", "specificity", "precision", "f1", "mcc")
PATIENT_METRICS = ("balanced_accuracy", "accuracy", "sensitivity", "specificity", "f1", "auroc")


def classification_metrics(
    y_true: npt.ArrayLike, y_prob: npt.ArrayLike, groups: Sequence[object], classes: Sequence[str] | None = None
) -> dict[str, float]:
    """Return every metric of one part of one fold.

    ``y_true`` int [N] in 0..C-1, ``y_prob`` float [N, C] with rows that sum to 1, ``groups`` [N] the patients. All
    values are in [0, 1], mcc in [-1, 1], brier of more than two classes in [0, 2]. Keys: balanced_accuracy, accuracy,
    sensitivity, specificity, precision, f1, auroc, auprc, mcc, ece, brier; patient_score; patient_<metric> for the
    names in ``PATIENT_METRICS``; for more than two classes recall_<class> as well (``classes`` names them, else their
    index). Raises ``DataError`` when the arrays are empty or do not fit each other.
    """
    truth, prob = check_arrays(y_true, y_prob, groups)
    result = _scores(truth, prob)
    result |= {"ece": expected_calibration_error(truth, prob), "brier": brier_score(truth, prob)}
    if prob.shape[1] > 2:
        names = [str(c) for c in classes] if classes is not None else [str(c) for c in range(prob.shape[1])]
        recalls = per_class_recall(confusion_matrix(truth, prob))
        result |= {f"recall_{n}": r for n, r in zip(names, recalls.tolist(), strict=True)}
    result["patient_score"] = patient_score(truth, prob, groups)
    patient_truth, patient_prob = patient_predictions(truth, prob, groups)
    patient = _scores(patient_truth, patient_prob)
    return result | {f"patient_{k}": patient[k] for k in PATIENT_METRICS}


def check_arrays(y_true: npt.ArrayLike, y_prob: npt.ArrayLike, groups: Sequence[object]) -> tuple[Ints, Floats]:
    """Return int64 [N] and float64 [N, C]. Raises ``DataError`` on empty or ill-fitting input."""
    truth, prob = np.asarray(y_true), np.asarray(y_prob, dtype=np.float64)
    n = len(truth)
    if n == 0:
        raise DataError("no predictions to score: y_true is empty; expected at least one image")
    if truth.ndim != 1 or prob.ndim != 2 or len(prob) != n or len(groups) != n or prob.shape[1] < 2:
        raise DataError(
            f"expected y_true [N], y_prob [N, C >= 2] and groups [N]; got {truth.shape}, {prob.shape}, {len(groups)}"
        )
    if truth.dtype.kind not in "iu" or truth.min() < 0 or truth.max() >= prob.shape[1]:
        raise DataError(f"expected integer labels in 0..{prob.shape[1] - 1}; got {np.unique(truth)[:9]}")
    if not (np.isfinite(prob).all() and prob.min() >= 0 and np.abs(prob.sum(axis=1) - 1).max() <= 1e-3):
        raise DataError("expected probabilities: finite, not negative, rows that sum to 1 (softmax before scoring)")
    return truth.astype(np.int64), prob


def patient_predictions(y_true: Ints, y_prob: Floats, groups: Sequence[object]) -> tuple[Ints, Floats]:
    """Return label int64 [P] and mean probability float64 [P, C] of each (group, label), sorted by that pair."""
    unit, labels = patient_units(y_true, groups)
    total = np.zeros((len(labels), y_prob.shape[1]))
    np.add.at(total, unit, y_prob)
    return labels, total / np.bincount(unit)[:, None]


def patient_units(y_true: Ints, groups: Sequence[object]) -> tuple[Ints, Ints]:
    """Return the unit of each image, int64 [N], and the label of each unit, int64 [P]; units are (group, label)."""
    pairs = list(zip(map(str, groups), y_true.tolist(), strict=True))
    units = sorted(set(pairs))
    place = {u: i for i, u in enumerate(units)}
    return np.array([place[p] for p in pairs], dtype=np.int64), np.array([y for _, y in units], dtype=np.int64)


def patient_score(y_true: Ints, y_prob: Floats, groups: Sequence[object]) -> float:
    """Return Spanhol et al.'s (2016, eq. 1 and 2) patient-level recognition rate, in [0, 1].

    The mean over patients of the share of the patient's images that is classified right.
    """
    unit, _ = patient_units(y_true, groups)
    right = np.bincount(unit, weights=y_prob.argmax(axis=1) == y_true)
    return float((right / np.bincount(unit)).mean())


def confusion_matrix(y_true: Ints, y_prob: Floats) -> Floats:
    """Return counts [C, C]: rows are the truth, columns the prediction."""
    c = y_prob.shape[1]
    return np.bincount(y_true * c + y_prob.argmax(axis=1), minlength=c * c).reshape(c, c).astype(np.float64)


def per_class_recall(matrix: Floats) -> Floats:
    """Return TP / (TP + FN) of each class, [..., C], of matrices [..., C, C]; NaN for a class without images."""
    return _ratio(np.diagonal(matrix, axis1=-2, axis2=-1), matrix.sum(axis=-1))


def confusion_metrics(matrix: Floats) -> dict[str, Floats]:
    """Return what follows from confusion matrices [..., C, C], each value [...]; keys are ``CONFUSION_METRICS``.

    Per class: sensitivity TP / (TP + FN), specificity TN / (TN + FP), precision TP / (TP + FP), f1 2TP / (2TP + FP +
    FN). Balanced accuracy is the mean of the classes' recalls. mcc is Gorodkin's (2004) R_K, Matthews' own for two
    classes. One class absent or never predicted: see the module's text.
    """
    hit = np.diagonal(matrix, axis1=-2, axis2=-1)
    of_class, predicted = matrix.sum(axis=-1), matrix.sum(axis=-2)
    n = of_class.sum(axis=-1)
    rest = n[..., None] - of_class
    recall = per_class_recall(matrix)
    per_class = {
        "sensitivity": recall,
        "specificity": _ratio(rest - predicted + hit, rest),
        "precision": _ratio(hit, predicted),
        "f1": np.where(of_class > 0, _ratio(2 * hit, of_class + predicted), np.nan),
    }
    result = {"balanced_accuracy": recall.mean(axis=-1), "accuracy": _ratio(hit.sum(axis=-1), n)}
    result |= {k: v[..., 1] if v.shape[-1] == 2 else v.mean(axis=-1) for k, v in per_class.items()}
    spread_true, spread_predicted = n**2 - (of_class**2).sum(axis=-1), n**2 - (predicted**2).sum(axis=-1)
    mcc = _ratio(n * hit.sum(axis=-1) - (of_class * predicted).sum(axis=-1), np.sqrt(spread_true * spread_predicted))
    mcc = np.where(spread_predicted > 0, mcc, 0.0)
    return result | {"mcc": np.where(spread_true > 0, mcc, np.nan)}


def ranking_metrics(y_true: Ints, y_prob: Floats) -> dict[str, float]:
    """Return auroc (ties count half) and auprc (average precision, not interpolated); macro one-against-rest.

    auroc = P(score of a positive > score of a negative) + P(equal) / 2. The chance level of auprc is the share of
    positives, so it compares within one test set only. NaN when a class has no images.
    """
    from sklearn.metrics import average_precision_score, roc_auc_score

    c = y_prob.shape[1]
    if len(np.unique(y_true)) < c:
        return {"auroc": float("nan"), "auprc": float("nan")}
    columns = [1] if c == 2 else range(c)
    auroc = [roc_auc_score(y_true == k, y_prob[:, k]) for k in columns]
    auprc = [average_precision_score(y_true == k, y_prob[:, k]) for k in columns]
    return {"auroc": float(np.mean(auroc)), "auprc": float(np.mean(auprc))}


def _ratio(top: Floats, bottom: Floats) -> Floats:
    """Divide; 0/0 is NaN."""
    return np.divide(top, bottom, out=np.full(np.shape(top), np.nan), where=bottom > 0)


def _scores(y_true: Ints, y_prob: Floats) -> dict[str, float]:
    confusion = confusion_metrics(confusion_matrix(y_true, y_prob))
    return {k: float(v) for k, v in confusion.items()} | ranking_metrics(y_true, y_prob)
