"""Classification and calibration metrics against scikit-learn and torchmetrics, and at their edges."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn import metrics as sk
from torchmetrics.functional import classification as tm

from bench.errors import DataError
from bench.metrics.calibration import brier_score, expected_calibration_error
from bench.metrics.classification import PATIENT_METRICS, classification_metrics, patient_predictions


def draw(n: int, c: int, seed: int, patients: int = 12) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Predictions that are better than chance; patients of one label each; probabilities on a grid, so with ties."""
    rng = np.random.default_rng(seed)
    patient = rng.integers(0, patients, n)
    y = patient % c
    logits = rng.normal(size=(n, c)) + 1.2 * np.eye(c)[y]
    prob = np.round(np.exp(logits) / np.exp(logits).sum(1, keepdims=True), 1)
    prob[:, 0] += 1 - prob.sum(1)
    return y, np.clip(prob, 0, 1) / np.clip(prob, 0, 1).sum(1, keepdims=True), [f"p{i}" for i in patient]


@pytest.mark.parametrize("seed", range(5))
def test_binary_equals_scikit_learn(seed: int) -> None:
    y, prob, groups = draw(80, 2, seed)
    got, pred = classification_metrics(y, prob, groups), prob.argmax(1)
    wanted = {
        "balanced_accuracy": sk.balanced_accuracy_score(y, pred),
        "accuracy": sk.accuracy_score(y, pred),
        "sensitivity": sk.recall_score(y, pred),
        "specificity": sk.recall_score(y, pred, pos_label=0),
        "precision": sk.precision_score(y, pred),
        "f1": sk.f1_score(y, pred),
        "auroc": sk.roc_auc_score(y, prob[:, 1]),
        "auprc": sk.average_precision_score(y, prob[:, 1]),
        "mcc": sk.matthews_corrcoef(y, pred),
        "brier": sk.brier_score_loss(y, prob[:, 1]),
    }
    assert {k: got[k] for k in wanted} == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_multi_class_equals_scikit_learn_and_torchmetrics(seed: int) -> None:
    y, prob, groups = draw(150, 4, seed)
    got, pred = classification_metrics(y, prob, groups, classes=("a", "b", "c", "d")), prob.argmax(1)
    wanted = {
        "balanced_accuracy": sk.balanced_accuracy_score(y, pred),
        "sensitivity": sk.recall_score(y, pred, average="macro"),
        "precision": sk.precision_score(y, pred, average="macro"),
        "f1": sk.f1_score(y, pred, average="macro"),
        "auroc": sk.roc_auc_score(y, prob, multi_class="ovr", average="macro"),
        "mcc": sk.matthews_corrcoef(y, pred),
        "auprc": np.mean([sk.average_precision_score(y == k, prob[:, k]) for k in range(4)]),
        "brier": np.square(prob - np.eye(4)[y]).sum(1).mean(),
    }
    assert {k: got[k] for k in wanted} == pytest.approx(wanted, abs=1e-12)
    recalls = sk.recall_score(y, pred, average=None)
    assert [got[f"recall_{k}"] for k in "abcd"] == pytest.approx(list(recalls))
    specificity = tm.multiclass_specificity(torch.tensor(pred), torch.tensor(y), 4, average="macro")
    assert got["specificity"] == pytest.approx(float(specificity), abs=1e-6)


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
    edge = np.array([[0.8, 0.2], [0.79, 0.21]])  # bins are (low, high]: both in (11/15, 12/15]
    assert expected_calibration_error([0, 1], edge) == pytest.approx((0.79 - 0.2) / 2)
    assert brier_score([1, 0], np.eye(2)) == 1


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
    assert got["patient_auroc"] == 1


def test_a_group_with_two_labels_is_a_patient_of_each() -> None:
    y, prob = np.array([0, 1, 1]), np.array([[0.8, 0.2], [0.4, 0.6], [0.2, 0.8]])
    labels, mean = patient_predictions(y, prob, ["x", "x", "x"])
    assert labels.tolist() == [0, 1]
    np.testing.assert_allclose(mean, [[0.8, 0.2], [0.3, 0.7]])


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
    assert {k for k, v in got.items() if math.isnan(v)} == undefined
    assert (got["sensitivity"], got["accuracy"]) == (0.5, 0.5)
    got = classification_metrics([0, 0], prob, ["a", "b"])
    assert math.isnan(got["sensitivity"])
    assert math.isnan(got["f1"])
    three = classification_metrics([0, 1], np.array([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1]]), ["a", "b"])
    assert math.isnan(three["balanced_accuracy"])
    assert math.isnan(three["recall_2"])
    assert three["recall_0"] == 1
    assert math.isnan(three["auroc"])
    perfect = classification_metrics([1, 1], np.array([[0.2, 0.8], [0.1, 0.9]]), ["a", "b"])
    assert math.isnan(perfect["mcc"])
    assert perfect["precision"] == 1


def test_a_class_never_predicted_has_no_precision() -> None:
    got = classification_metrics([0, 1, 1], np.array([[0.9, 0.1]] * 3), ["a", "b", "c"])
    assert math.isnan(got["precision"])
    assert (got["f1"], got["mcc"], got["balanced_accuracy"], got["auroc"]) == (0, 0, 0.5, 0.5)


def test_ties_go_to_the_lower_class_and_count_half_in_auroc() -> None:
    got = classification_metrics([0, 1], np.full((2, 2), 0.5), ["a", "b"])
    assert (got["auroc"], got["sensitivity"], got["specificity"]) == (0.5, 0, 1)


def test_one_patient_and_one_image() -> None:
    got = classification_metrics([1, 1, 1], np.array([[0.1, 0.9]] * 3), ["p"] * 3)
    assert (got["patient_score"], got["patient_accuracy"]) == (1, 1)
    assert math.isnan(got["patient_auroc"])
    assert classification_metrics([0], np.array([[0.9, 0.1]]), ["p"])["accuracy"] == 1


@pytest.mark.parametrize("seed", range(10))
def test_ranges_and_no_figure_beyond_them(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, c = int(rng.integers(1, 12)), int(rng.integers(2, 5))
    prob = rng.dirichlet(np.full(c, 0.3), n)
    got = classification_metrics(rng.integers(0, c, n), prob, rng.integers(0, 3, n).tolist())
    for key, value in got.items():
        low, high = (-1 if key == "mcc" else 0), (2 if key == "brier" else 1)
        assert math.isnan(value) or low - 1e-12 <= value <= high + 1e-12, key
    assert {f"patient_{k}" for k in PATIENT_METRICS} <= set(got)


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
def test_ill_input_is_a_typed_error(y, prob, groups, message: str) -> None:
    with pytest.raises(DataError, match=message):
        classification_metrics(y, prob, groups)
