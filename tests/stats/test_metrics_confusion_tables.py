"""Possible results of small test sets, against an independent search; the interval of a difference of proportions."""

from __future__ import annotations

import itertools
import math

import pytest
from statsmodels.stats.proportion import confint_proportions_2indep

from bench.stats.confusion_tables import ConfusionTable, inconsistencies, possible_tables, prints_as
from bench.stats.proportions import newcombe

RESNET50 = {"accuracy": "0.95", "precision": "0.9036", "recall": "1.00", "f1": "0.95"}


def test_the_measures_are_scikit_learns() -> None:
    from sklearn.metrics import accuracy_score, f1_score, precision_score, recall_score

    truth, said = [1] * 5 + [0] * 7, [1] * 3 + [0] * 2 + [1] * 4 + [0] * 3
    table = ConfusionTable(3, 2, 4, 3)
    for name, score in zip(
        ("accuracy", "precision", "recall", "f1"),
        (accuracy_score, precision_score, recall_score, f1_score),
        strict=True,
    ):
        assert table.value(name) == pytest.approx(score(truth, said))
    assert math.isnan(ConfusionTable(0, 5, 0, 5).value("precision"))


@pytest.mark.parametrize(
    ("value", "printed", "same"),
    [(10 / 11, "0.9091", True), (10 / 11, "0.91", True), (10 / 11, "0.9036", False), (0.125, "0.12", True),
     (0.125, "0.13", True), (1.0, "1.0000", True), (4 / 7, "0.57", True), (float("nan"), "0.50", False)],
)  # fmt: skip
def test_rounding_to_the_printed_decimals(value: float, printed: str, same: bool) -> None:
    assert prints_as(value, printed) == same


def test_an_impossible_number_is_found_with_the_nearest_possible_one() -> None:
    (found,) = inconsistencies(RESNET50, 10, 10)
    assert (found.measure, found.printed, found.nearest, found.alone) == (
        "precision", "0.9036", ConfusionTable(10, 0, 1, 9), True
    )  # fmt: skip
    assert found.others == {k: v for k, v in RESNET50.items() if k != "precision"}
    brute = [a / b for a, b in itertools.product(range(1, 11), range(1, 21)) if a <= b <= a + 10]
    assert not any(f"{x:.4f}" == "0.9036" for x in brute)


def test_consistent_numbers_are_not_reported() -> None:
    assert possible_tables({"accuracy": "0.70", "precision": "1.0000", "recall": "0.40", "f1": "0.57"}, 10, 10) == [
        ConfusionTable(4, 6, 0, 10)
    ]
    assert inconsistencies({"accuracy": "0.50", "precision": "0.5000", "recall": "1.00", "f1": "0.67"}, 10, 10) == []
    assert inconsistencies({**RESNET50, "precision": "0.9091"}, 10, 10) == []
    assert inconsistencies({"precision": "0.9036", "recall": "1.00"}, 75, 75) == [], "75 of 83 give it"
    assert inconsistencies({}, 10, 10) == []


def test_two_numbers_that_exclude_each_other_are_both_named() -> None:
    found = inconsistencies({"accuracy": "1.00", "recall": "0.50"}, 10, 10)
    assert {(x.measure, x.alone) for x in found} == {("accuracy", False), ("recall", False)}
    assert next(x for x in found if x.measure == "recall").nearest == ConfusionTable(10, 0, 0, 10)


@pytest.mark.parametrize("counts", [(18, 20, 11, 20), (0, 10, 10, 10), (7, 7, 3, 50), (95, 100, 80, 100)])
def test_newcombe_equals_statsmodels(counts: tuple[int, int, int, int]) -> None:
    a, n_a, b, n_b = counts
    difference, low, high = newcombe(a, n_a, b, n_b)
    assert difference == pytest.approx(a / n_a - b / n_b)
    expected = confint_proportions_2indep(a, n_a, b, n_b, method="newcomb", compare="diff")
    assert (low, high) == pytest.approx(expected, abs=1e-9)
    assert all(map(math.isnan, newcombe(1, 2, 0, 0)))
