"""Classification and calibration metrics against scikit-learn and torchmetrics, and in edge cases."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from sklearn import metrics as sk
from torchmetrics.functional import classification as tm

from bench.errors import DataError
from bench.metrics.calibration import brier_score, expected_calibration_error, reliability_curve
from bench.metrics.classification import CLASS_METRICS, METRICS, classification_metrics, patient_predictions
from bench.metrics.predictions import Predictions
from bench.metrics.selection import selection_score


def draw(n: int, c: int, seed: int, patients: int = 12, ties: bool = True) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Predictions better than chance; patients of one label each; with ``ties`` probabilities on a grid."""
    rng = np.random.default_rng(seed)
    patient = rng.integers(0, patients, n)
    y = patient % c
    logits = rng.normal(size=(n, c)) + 1.2 * np.eye(c)[y]
    prob = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    if not ties:
        return y, prob, [f"p{i}" for i in patient]
    prob = np.round(prob, 1)
    prob[:, 0] += 1 - prob.sum(1)
    return y, np.clip(prob, 0, 1) / np.clip(prob, 0, 1).sum(1, keepdims=True), [f"p{i}" for i in patient]


def expected(y: np.ndarray, prob: np.ndarray) -> dict[str, float]:
    """Every metric by scikit-learn, and by torchmetrics if scikit-learn lacks it."""
    c, pred = prob.shape[1], prob.argmax(1)
    average = "binary" if c == 2 else "macro"
    positive = [1] if c == 2 else range(c)
    specificity = tm.multiclass_specificity(torch.tensor(pred), torch.tensor(y), c, average="none")
    ece = tm.multiclass_calibration_error(torch.tensor(prob), torch.tensor(y), c, n_bins=15, norm="l1")
    brier = sk.brier_score_loss(y, prob[:, 1]) if c == 2 else sk.brier_score_loss(y, prob, labels=range(c))
    return {
        "balanced_accuracy": sk.balanced_accuracy_score(y, pred),
        "accuracy": sk.accuracy_score(y, pred),
        "sensitivity": sk.recall_score(y, pred, average=average),
        "specificity": float(specificity[1] if c == 2 else specificity.mean()),
        "precision": sk.precision_score(y, pred, average=average),
        "f1": sk.f1_score(y, pred, average=average),
        "mcc": sk.matthews_corrcoef(y, pred),
        "auroc": sk.roc_auc_score(y, prob[:, 1] if c == 2 else prob, multi_class="ovr", average="macro"),
        "auprc": float(np.mean([sk.average_precision_score(y == k, prob[:, k]) for k in positive])),
        "ece": float(ece),
        "brier": brier,
        "log_loss": float(-np.log(np.maximum(prob[range(len(y)), y], 1e-6)).mean()),  # scikit-learn's has no limit
    }


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("c", [2, 4])
@pytest.mark.parametrize("ties", [False, True])
def test_every_metric_equals_scikit_learn_or_torchmetrics(seed: int, c: int, ties: bool) -> None:
    y, prob, groups = draw(150, c, seed, 40, ties)
    got = classification_metrics(y, prob, groups)
    wanted, by_patient = expected(y, prob), expected(*patient_predictions(y, prob, groups))
    assert set(wanted) == set(METRICS)
    if ties:  # at the edge of two bins torchmetrics uses float32
        del wanted["ece"], by_patient["ece"]
    assert {k: got[k] for k in wanted} == pytest.approx(wanted, abs=1e-6)
    assert {k: got[f"patient_{k}"] for k in by_patient} == pytest.approx(by_patient, abs=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_each_class_equals_scikit_learn(seed: int) -> None:
    y, prob, groups = draw(150, 4, seed, patients=40)
    got = classification_metrics(y, prob, groups, classes=("a", "b", "c", "d"))
    for prefix, (truth, p) in (("", (y, prob)), ("patient_", patient_predictions(y, prob, groups))):
        pred = p.argmax(1)
        wanted = {
            "recall": sk.recall_score(truth, pred, average=None),
            "precision": sk.precision_score(truth, pred, average=None),
            "f1": sk.f1_score(truth, pred, average=None),
            "auroc": [sk.roc_auc_score(truth == k, p[:, k]) for k in range(4)],
        }
        assert set(wanted) == set(CLASS_METRICS)
        for metric, values in wanted.items():
            assert [got[f"{prefix}{metric}_{k}"] for k in "abcd"] == pytest.approx(list(values), abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_nine_very_unequal_classes_equal_scikit_learn_each_and_on_average(seed: int) -> None:
    sizes = (114, 376, 95, 438, 357, 462, 77, 181, 139)
    rng = np.random.default_rng(seed)
    y = np.repeat(np.arange(9), sizes)
    logits = rng.normal(size=(len(y), 9)) + 0.9 * np.eye(9)[y]
    prob = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    names = tuple(f"class {k}" for k in range(9))
    got = classification_metrics(y, prob, [f"image {i}" for i in range(len(y))], names)
    truth = sk.classification_report(y, prob.argmax(1), target_names=names, output_dict=True, zero_division=0)
    auroc = sk.roc_auc_score(y, prob, multi_class="ovr", average=None)
    for k, name in enumerate(names):
        wanted = [truth[name]["precision"], truth[name]["recall"], truth[name]["f1-score"], auroc[k]]
        assert [got[f"{m}_{name}"] for m in ("precision", "recall", "f1", "auroc")] == pytest.approx(wanted, abs=1e-12)
    macro = [truth["macro avg"][m] for m in ("precision", "recall", "f1-score")]
    assert [got[m] for m in ("precision", "sensitivity", "f1")] == pytest.approx(macro, abs=1e-12)
    assert got["auroc"] == pytest.approx(sk.roc_auc_score(y, prob, multi_class="ovr", average="macro"), abs=1e-12)
    assert got["balanced_accuracy"] == pytest.approx(got["sensitivity"])
    for metric in CLASS_METRICS:
        mean = got["sensitivity" if metric == "recall" else metric]
        assert np.mean([got[f"{metric}_{n}"] for n in names]) == pytest.approx(mean)


def test_two_classes_have_no_metrics_by_class() -> None:
    y, prob, groups = draw(40, 2, 0)
    got = classification_metrics(y, prob, groups, classes=("benign", "malignant"))
    assert set(got) == {*METRICS, "patient_score", *(f"patient_{k}" for k in METRICS)}


@pytest.mark.parametrize("c", [2, 4])
def test_calibration_error_equals_torchmetrics(c: int) -> None:
    rng = np.random.default_rng(c)
    y, prob = rng.integers(0, c, 300), rng.dirichlet(np.ones(c), 300)
    wanted = tm.multiclass_calibration_error(torch.tensor(prob), torch.tensor(y), c, n_bins=15, norm="l1")
    assert expected_calibration_error(y, prob) == pytest.approx(float(wanted), abs=1e-6)


def test_calibration_by_hand() -> None:
    prob = np.array([[0.1, 0.9], [0.1, 0.9], [1.0, 0.0], [1.0, 0.0]])
    y = np.array([1, 0, 0, 0])  # half right at 0.9, all right at 1.0
    assert expected_calibration_error(y, prob) == pytest.approx(0.5 * abs(0.5 - 0.9))
    assert brier_score(y, prob) == pytest.approx((0.01 + 0.81) / 4)
    assert expected_calibration_error([0, 1], np.eye(2)) == 0
    curve = reliability_curve(y, prob, bins=10)
    assert curve.images.tolist() == [0] * 8 + [2, 2]  # (0.8, 0.9] and (0.9, 1.0]
    np.testing.assert_allclose(curve.confidence[8:], [0.9, 1.0])
    np.testing.assert_allclose(curve.accuracy[8:], [0.5, 1.0])
    assert np.isnan(curve.confidence[:8]).all()
    assert np.isnan(curve.accuracy[:8]).all()
    edge = np.array([[0.8, 0.2], [0.79, 0.21]])  # bins are (low, high]: both in (11/15, 12/15]
    assert expected_calibration_error([0, 1], edge) == pytest.approx((0.79 - 0.2) / 2)
    assert brier_score([1, 0], np.eye(2)) == 1


@pytest.mark.filterwarnings("error")
def test_the_curve_counts_every_image_once() -> None:
    rng = np.random.default_rng(0)
    y, prob = rng.integers(0, 3, 500), rng.dirichlet(np.ones(3), 500)
    curve = reliability_curve(y, prob)
    assert curve.images.sum() == 500
    full = curve.images > 0
    assert (curve.accuracy[full] @ curve.images[full]) / 500 == pytest.approx((prob.argmax(1) == y).mean())
    assert not full[:4].any()  # the largest of three probabilities is at least 1/3
    low, high = np.arange(15) / 15, np.arange(1, 16) / 15
    assert np.all((curve.confidence > low)[full] & (curve.confidence <= high)[full])


@pytest.mark.parametrize("score", [expected_calibration_error, brier_score, reliability_curve])
def test_calibration_of_nothing_is_a_typed_error(score: Callable) -> None:
    with pytest.raises(DataError, match="empty"):
        score([], np.zeros((0, 2)))
    with pytest.raises(DataError, match="probabilities"):
        score([0, 1], np.array([[3.0, -2.0], [1.0, 0.0]]))


def test_patient_level_by_hand() -> None:
    # p0 (benign): 2 of 3 right, mean wrong; p1 (benign): all right; p2 (malignant): 1 of 2 right, mean right
    malignant = np.array([0.4, 0.4, 0.9, 0.1, 0.4, 0.9])
    y, groups = [0, 0, 0, 0, 1, 1], ["p0", "p0", "p0", "p1", "p2", "p2"]
    got = classification_metrics(y, np.stack([1 - malignant, malignant], 1), groups)
    assert got["patient_score"] == pytest.approx((2 / 3 + 1 + 1 / 2) / 3)
    assert got["patient_accuracy"] == pytest.approx(2 / 3)
    assert got["patient_balanced_accuracy"] == pytest.approx((1 / 2 + 1) / 2)
    assert (got["patient_sensitivity"], got["patient_specificity"]) == (1, 0.5)
    assert got["patient_f1"] == pytest.approx(2 / 3)
    assert (got["patient_auroc"], got["patient_auprc"]) == (1, 1)
    assert got["patient_precision"] == 0.5
    assert got["patient_mcc"] == pytest.approx(0.5)  # TP 1, FP 1, TN 1, FN 0
    mean = np.array([(0.4 + 0.4 + 0.9) / 3, 0.1, 0.65])
    assert got["patient_brier"] == pytest.approx(np.square(mean - [0, 0, 1]).mean())
    assert got["patient_ece"] == pytest.approx((mean[0] + (1 - 0.9) + (1 - 0.65)) / 3)  # each in a separate bin


def test_a_group_with_images_of_two_classes_is_never_scored_once() -> None:
    y, prob = np.array([0, 1, 1]), np.array([[0.8, 0.2], [0.4, 0.6], [0.2, 0.8]])
    with pytest.raises(DataError, match="'x' has images of several classes"):
        patient_predictions(y, prob, ["x", "x", "x"])
    with pytest.raises(DataError, match="Score the images"):
        classification_metrics(y, prob, ["x", "x", "x"])
    per_image = classification_metrics(y, prob, ["x", "x", "x"], per_group=False)
    assert per_image["balanced_accuracy"] == 1
    assert not [k for k in per_image if k.startswith("patient_")]


def test_patients_as_rows_equal_scikit_learn() -> None:
    y, prob, groups = draw(200, 3, 7)
    labels, mean = patient_predictions(y, prob, groups)
    got = classification_metrics(y, prob, groups)
    assert got["patient_f1"] == pytest.approx(sk.f1_score(labels, mean.argmax(1), average="macro"))
    assert got["patient_auroc"] == pytest.approx(sk.roc_auc_score(labels, mean, multi_class="ovr"))


@pytest.mark.filterwarnings("error")
def test_a_class_absent_from_the_truth_gives_nan_and_never_a_figure() -> None:
    prob = np.array([[0.2, 0.8], [0.6, 0.4]])
    got = classification_metrics([1, 1], prob, ["a", "b"])
    undefined = {"balanced_accuracy", "specificity", "auroc", "auprc", "mcc"}
    undefined |= {"patient_balanced_accuracy", "patient_specificity", "patient_auroc"}
    undefined |= {"patient_auprc", "patient_mcc"}
    assert {k for k, v in got.items() if math.isnan(v)} == undefined
    assert (got["sensitivity"], got["accuracy"]) == (0.5, 0.5)
    got = classification_metrics([0, 0], prob, ["a", "b"])
    assert math.isnan(got["sensitivity"])
    assert math.isnan(got["f1"])
    three = classification_metrics([0, 1], np.array([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1]]), ["a", "b"])
    assert math.isnan(three["balanced_accuracy"])
    assert all(math.isnan(three[f"{k}_2"]) for k in CLASS_METRICS)  # never seen, never predicted
    assert [three[f"{k}_0"] for k in CLASS_METRICS] == [1, 1, 1, 1]
    assert all(math.isnan(three[k]) for k in ("auroc", "auprc", "precision", "f1", "patient_auroc"))
    assert three["brier"] == pytest.approx(0.04 + 0.01 + 0.01)  # calibration does not need all classes
    claimed = classification_metrics([0, 1], np.array([[0.8, 0.1, 0.1], [0.1, 0.1, 0.8]]), ["a", "b"])
    assert (claimed["precision_2"], claimed["precision_0"]) == (0, 1)  # predicted but absent: defined, and 0
    assert math.isnan(claimed["recall_2"])
    perfect = classification_metrics([1, 1], np.array([[0.2, 0.8], [0.1, 0.9]]), ["a", "b"])
    assert math.isnan(perfect["mcc"])
    assert perfect["precision"] == 1


def test_the_precision_of_a_class_never_predicted_is_0_as_in_scikit_learn() -> None:
    got = classification_metrics([0, 1, 1], np.array([[0.9, 0.1]] * 3), ["a", "b", "c"])
    assert (got["precision"], got["patient_precision"]) == (0, 0)
    assert (got["f1"], got["mcc"], got["balanced_accuracy"], got["auroc"]) == (0, 0, 0.5, 0.5)
    prob = np.array([[0.8, 0.2, 0.0], [0.2, 0.8, 0.0], [0.5, 0.4, 0.1]])
    three = classification_metrics([0, 1, 2], prob, ["a", "b", "c"])
    assert (three["recall_2"], three["f1_2"], three["auroc_2"], three["precision_2"]) == (0, 0, 1, 0)
    truth = sk.precision_score([0, 1, 2], prob.argmax(1), average="macro", zero_division=0)
    assert three["precision"] == pytest.approx(truth, abs=1e-12)
    absent = classification_metrics([0, 1], prob[:2], ["a", "b"])
    assert math.isnan(absent["precision_2"]), "no image of it, and none was called so"


def test_ties_go_to_the_lower_class_and_count_half_in_auroc() -> None:
    got = classification_metrics([0, 1], np.full((2, 2), 0.5), ["a", "b"])
    assert (got["auroc"], got["sensitivity"], got["specificity"]) == (0.5, 0, 1)
    assert (got["auprc"], got["patient_auprc"]) == (0.5, 0.5)  # one threshold: the share of positives
    half = classification_metrics([0, 0, 1, 1], np.array([[0.9, 0.1], [0.6, 0.4], [0.6, 0.4], [0.2, 0.8]]), [*"abcd"])
    assert half["auroc"] == pytest.approx((1 + 1 + 1 + 0.5) / 4)


def test_one_patient_and_one_image() -> None:
    got = classification_metrics([1, 1, 1], np.array([[0.1, 0.9]] * 3), ["p"] * 3)
    assert (got["patient_score"], got["patient_accuracy"]) == (1, 1)
    assert all(math.isnan(got[f"patient_{k}"]) for k in ("auroc", "auprc", "mcc", "balanced_accuracy"))
    assert (got["patient_precision"], got["patient_f1"]) == (1, 1)
    assert (got["patient_ece"], got["patient_brier"]) == pytest.approx((0.1, 0.01))
    assert classification_metrics([0], np.array([[0.9, 0.1]]), ["p"])["accuracy"] == 1


@pytest.mark.parametrize("seed", range(10))
def test_values_stay_in_their_ranges(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, c = int(rng.integers(1, 12)), int(rng.integers(2, 5))
    prob = rng.dirichlet(np.full(c, 0.3), n)
    y = rng.integers(0, c, n)
    got = classification_metrics(y, prob, [f"{label} {g}" for label, g in zip(y, rng.integers(0, 3, n), strict=True)])
    for key, value in got.items():
        low, high = (
            (-1 if key.endswith("mcc") else 0),
            (2 if key.endswith("brier") else 13.9 if key.endswith("log_loss") else 1),
        )
        assert math.isnan(value) or low - 1e-12 <= value <= high + 1e-12, key
    assert {f"patient_{k}" for k in METRICS} <= set(got)


@pytest.mark.parametrize(
    ("y", "prob", "groups", "message"),
    [
        ([], np.zeros((0, 2)), [], "empty"),
        ([0, 1], np.ones((1, 2)) / 2, ["a", "b"], "expected"),
        ([0, 1], np.ones((2, 2)) / 2, ["a"], "groups"),
        ([0, 2], np.ones((2, 2)) / 2, ["a", "b"], "labels"),
        ([0.0, 1.0], np.ones((2, 2)) / 2, ["a", "b"], "labels"),
        ([0, 1], np.array([[3.0, -2.0], [1.0, 0.0]]), ["a", "b"], "probabilities"),
        ([0, 1], np.full((2, 2), np.nan), ["a", "b"], "probabilities"),
    ],
)
def test_invalid_input_is_a_typed_error(y: list, prob: np.ndarray, groups: list, message: str) -> None:
    with pytest.raises(DataError, match=message):
        classification_metrics(y, prob, groups)


def test_names_must_fit_the_classes() -> None:
    with pytest.raises(DataError, match="name for each of 3"):
        classification_metrics([0, 1], np.ones((2, 3)) / 3, ["a", "b"], classes=("benign", "malignant"))


def test_lower_is_better_metrics_are_negated_for_selection() -> None:
    y, prob, groups = draw(40, 2, 0)
    part, n = ("validation",) * 40, tuple(map(str, range(40)))
    table = Predictions(n, tuple(groups), part, 0, 0, y, prob, ("benign", "malignant"))
    scores = classification_metrics(y, prob, groups)
    for metric in METRICS:
        for name in (metric, f"patient_{metric}"):
            sign = -1 if metric in ("ece", "brier", "log_loss") else 1
            assert selection_score(table, name) == sign * scores[name]
