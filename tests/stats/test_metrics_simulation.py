"""Simulated studies: patients are clusters, arms are equally good by symmetry, more patients are better."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from bench.stats.learners import Learner, lda, logistic, patient_probability
from bench.stats.simulation import (
    IMAGES,
    NULLS,
    PATIENT_SHARE,
    SAME,
    Curve,
    View,
    by_testing_run,
    classes,
    curve_probabilities,
    draw_columns,
    draw_folds,
    prevalent,
    run_probabilities,
    training_patients,
)


def test_images_of_a_patient_share_its_noise() -> None:
    y = prevalent(400)
    x = draw_columns(20, y, np.array([2.0, 0.0]), np.random.default_rng(0)).reshape(20, 400, IMAGES, 2)
    assert x[:, y == 1, :, 0].mean() - x[:, y == 0, :, 0].mean() == pytest.approx(2, abs=0.1)
    assert x[..., 1].var() == pytest.approx(1, abs=0.05)
    assert np.corrcoef(x[..., 0, 1].ravel(), x[..., 1, 1].ravel())[0, 1] == pytest.approx(PATIENT_SHARE, abs=0.03)
    assert y.mean() == pytest.approx(0.3)


def test_views_hide_and_share_columns() -> None:
    rng = np.random.default_rng(0)
    _, bank, half, disjoint = NULLS
    both = disjoint.seen((2, 3), rng)
    assert (both[0] * both[1]).sum() == 0
    assert both.sum() == 2 * 3 * disjoint.own
    both = half.seen((2, 1), rng)
    assert (both[0] * both[1]).sum() == half.common
    picked = bank.seen((2, 50), rng)
    assert (picked.sum(axis=-1) == bank.common + bank.own).all()
    assert picked[..., bank.common :].any(axis=1).all()  # either arm may see any column of the bank


def auroc(y: np.ndarray, probability: np.ndarray) -> float:
    return float(np.mean([roc_auc_score(y, p) for p in probability.reshape(-1, len(y))]))


@pytest.mark.parametrize("view", NULLS, ids=lambda v: v.name)
def test_arms_of_a_null_differ_but_are_equally_good(view: View) -> None:
    y, p = curve_probabilities(Curve(sets=2, test=200), view, 40, np.random.default_rng(1))
    assert p.shape == (40, 2, 2, 200)
    assert np.abs(p[:, 0] - p[:, 1]).mean() > 0.02
    assert auroc(y, p[:, 0]) == pytest.approx(auroc(y, p[:, 1]), abs=0.03)
    assert 0.7 < auroc(y, p) < 0.95


def test_more_patients_are_better() -> None:
    y, p = curve_probabilities(Curve(sets=4, sizes=(20, 40, 80), test=300), SAME, 20, np.random.default_rng(2))
    small, middle, large = (auroc(y, p[:, a]) for a in range(3))
    assert 0.02 < middle - small < 0.07
    assert 0.015 < large - middle < 0.05  # methodology: twice the patients are worth 2.7 points


def test_folds_are_stratified_and_test_every_patient_once() -> None:
    y = classes((6, 12))
    fold = draw_folds(3, 2, y, 4, np.random.default_rng(0))
    for label, least in ((0, 1), (1, 3)):
        counts = np.stack([(fold[..., y == label] == k).sum(axis=-1) for k in range(4)])
        assert counts.min() == least
        assert counts.max() - counts.min() <= 1
    assert len({tuple(f) for f in fold.reshape(6, -1)}) == 6
    trained = training_patients(fold, 4)
    assert trained.shape == (3, 8, 18)
    assert (trained.reshape(3, 2, 4, 18).sum(axis=2) == 3).all()
    probability = np.broadcast_to(np.arange(8.0)[:, None], (3, 1, 8, 18))
    np.testing.assert_array_equal(by_testing_run(probability, fold)[:, 0], fold + np.array([0, 4])[:, None])


@pytest.mark.parametrize("learner", [lda, logistic])
def test_runs_learn_from_their_training_patients_only(learner: Learner) -> None:
    y = classes((10, 20))
    trained = np.ones((1, 2, 1, 30), dtype=np.bool_)
    trained[:, 1, :, ::3] = False
    x = draw_columns(1, y, SAME.strengths(2), np.random.default_rng(0))
    found = run_probabilities(y, trained, SAME, np.random.default_rng(0), learner)
    rows = np.repeat(trained[0, 1, 0], IMAGES)
    model = learner(x[:, rows], np.repeat(y, IMAGES)[rows], np.ones(rows.sum()))
    np.testing.assert_allclose(found[:, 1, 0], patient_probability(model.logits(x), IMAGES), atol=1e-5)
    assert np.abs(found[0, 0] - found[0, 1]).max() > 0.01
