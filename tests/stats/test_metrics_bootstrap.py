"""Patient bootstrap: weighted statistics equal the plain ones on repeated rows; intervals have nominal coverage."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest

from bench.errors import ConfigError, DataError
from bench.metrics.classification import classification_metrics
from bench.stats.bootstrap import STATISTICS, ScoredFold, cluster_bootstrap_ci, patient_weights


def fold(seed: int, patients: int = 8, images: int = 6, c: int = 2, repeat: int = 0, skill: float = 1.0) -> ScoredFold:
    """Patients differ (a normal effect each), so their images are dependent."""
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(patients), images)
    y = groups % c
    logits = rng.normal(size=(len(y), c)) + skill * np.eye(c)[y] + rng.normal(size=(patients, c))[groups]
    prob = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return ScoredFold(y, np.round(prob, 2) / np.round(prob, 2).sum(1, keepdims=True), groups.tolist(), repeat)


@pytest.mark.parametrize("name", STATISTICS)
@pytest.mark.parametrize("c", [2, 3])
def test_weights_count_as_repeated_rows(name: str, c: int) -> None:
    f = fold(1, patients=9, c=c)
    y, prob = np.asarray(f.y_true), np.asarray(f.y_prob)
    weights = np.random.default_rng(0).integers(1, 4, (5, len(y)))
    got = STATISTICS[name](weights.astype(float), y, prob)
    for w, value in zip(weights, got, strict=True):
        rows = np.repeat(np.arange(len(y)), w)
        wanted = classification_metrics(y[rows], prob[rows], [0] * len(rows), per_group=False)[name]
        assert value == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize("name", STATISTICS)
def test_value_is_the_mean_over_folds(name: str) -> None:
    folds = [fold(s, patients=16, skill=0.5) for s in range(3)]
    wanted = np.mean([classification_metrics(f.y_true, f.y_prob, f.groups)[name] for f in folds])
    got = cluster_bootstrap_ci(folds, name)
    assert got.value == pytest.approx(wanted)
    assert got.low < got.value < got.high
    assert (got.patients, got.lone) == (16, 0)
    assert cluster_bootstrap_ci(folds, name) == got


def test_per_patient_is_the_patient_metric() -> None:
    folds = [fold(s) for s in range(3)]
    wanted = np.mean([classification_metrics(f.y_true, f.y_prob, f.groups)["patient_auroc"] for f in folds])
    assert cluster_bootstrap_ci(folds, "auroc", per_patient=True).value == pytest.approx(wanted)


def test_weights_keep_every_class_and_the_variance_of_the_mean() -> None:
    labels = np.array([0] * 2 + [1] * 5 + [2])
    weights, lone = patient_weights(labels, 20_000, np.random.default_rng(0))
    assert lone == 1
    for k, n in ((0, 2), (1, 5), (2, 1)):
        np.testing.assert_allclose(weights[:, labels == k].sum(axis=1), n)
    values = np.array([3.0, -1.0, 0.5, 2.0, 7.0])
    means = weights[:, labels == 1] @ values / 5
    assert means.var() == pytest.approx(values.var(ddof=1) / 5, rel=0.05)  # not values.var() / 5


def test_intervals_have_nominal_coverage() -> None:
    """Accuracy of patients with varying share of correct images: about 95 % of the intervals contain the truth."""
    rng = np.random.default_rng(0)
    covered = []
    for seed in range(300):
        folds = []
        for _ in range(3):
            groups = np.repeat(np.arange(12), 8)
            right = rng.random(96) < rng.beta(3, 1.5, 12)[groups]  # mean 2/3
            y = groups % 2
            folds.append(ScoredFold(y, np.eye(2)[np.where(right, y, 1 - y)], groups.tolist()))
        got = cluster_bootstrap_ci(folds, "balanced_accuracy", resamples=300, seed=seed)
        covered.append(got.low <= 2 / 3 <= got.high)
    assert 0.90 <= np.mean(covered) <= 0.98


def test_paired_difference() -> None:
    folds, worse = [fold(s, skill=1.5) for s in range(3)], [fold(s, skill=0.3) for s in range(3)]
    got = cluster_bootstrap_ci(folds, "balanced_accuracy", reference=worse)
    alone = [cluster_bootstrap_ci(f, "balanced_accuracy") for f in (folds, worse)]
    assert got.value == pytest.approx(alone[0].value - alone[1].value)
    assert got.low > 0
    assert got.high - got.low < sum(a.high - a.low for a in alone)


def test_an_arm_against_itself_has_no_interval() -> None:
    folds = [fold(0), fold(1)]
    got = cluster_bootstrap_ci(folds, "auroc", reference=folds)
    assert got.value == 0
    assert math.isnan(got.low)
    assert math.isnan(got.high)


def test_repeats_do_not_narrow_the_interval() -> None:
    once = cluster_bootstrap_ci([fold(0), fold(1)], "accuracy", resamples=4000)
    copies = [fold(s, repeat=r) for r in range(5) for s in (0, 1)]
    often = cluster_bootstrap_ci(copies, "accuracy", resamples=4000)
    assert often.value == pytest.approx(once.value)
    assert often.high - often.low == pytest.approx(once.high - once.low, rel=0.1)


def test_too_few_patients() -> None:
    lonely = cluster_bootstrap_ci([fold(0, patients=2), fold(1, patients=2)], "accuracy")
    assert lonely.lone == 4
    assert math.isnan(lonely.low)
    one_class = ScoredFold([1, 1], np.array([[0.2, 0.8], [0.6, 0.4]]), ["a", "b"])
    got = cluster_bootstrap_ci([one_class], "balanced_accuracy")
    assert math.isnan(got.value)
    assert math.isnan(got.low)
    assert cluster_bootstrap_ci([one_class], "accuracy").value == 0.5


def test_invalid_input_is_a_typed_error() -> None:
    with pytest.raises(ConfigError, match="balanced_accuracy"):
        cluster_bootstrap_ci([fold(0)], "balanced")
    with pytest.raises(DataError, match="fold"):
        cluster_bootstrap_ci([])
    with pytest.raises(DataError, match="paired"):
        cluster_bootstrap_ci([fold(0)], reference=[fold(0, patients=9)])
    f = fold(0)
    with pytest.raises(DataError, match="paired"):
        cluster_bootstrap_ci([f], reference=[ScoredFold(f.y_true, f.y_prob, list(reversed(list(f.groups))))])


@pytest.mark.parametrize("name", ["balanced_accuracy", "auroc"])
def test_a_thousand_resamples_of_five_folds_are_quick(name: str) -> None:
    folds = [fold(s, patients=14, images=25) for s in range(5)]
    start = time.perf_counter()
    cluster_bootstrap_ci(folds, name)
    assert time.perf_counter() - start < 3  # 0.01 to 0.3 s on an idle core
