"""Simulated predictions: scored like the harness, no effect unless injected, and the injected effect otherwise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bench.errors import ConfigError
from bench.metrics.classification import classification_metrics
from bench.selftest.logits import (
    Cohort,
    Folds,
    draw_logits,
    fold_scores,
    image_right,
    patient_probability,
    patient_right,
    shift_for,
)
from bench.selftest.trials import SPREAD


def cohort(benign: int = 6, malignant: int = 9, seed: int = 0) -> Cohort:
    labels = np.repeat([0, 1], [benign, malignant])
    return Cohort(labels, np.random.default_rng(seed).integers(1, 9, len(labels)))


def folds(of: Cohort, studies: int, repeats: int, k: int, seed: int = 0) -> Folds:
    rng = np.random.default_rng(seed)
    tested = np.zeros((studies, repeats, len(of.labels)), dtype=np.int64)
    for c in (0, 1):
        place = np.flatnonzero(of.labels == c)
        turns = np.broadcast_to(np.arange(len(place)) % k, (studies, repeats, len(place)))
        tested[..., place] = rng.permuted(turns, axis=-1)
    return Folds(tested, tested[:, :, None] != np.arange(k)[:, None])


def test_scores_equal_those_of_the_harness() -> None:
    of = cohort()
    split = folds(of, 3, 2, 3)
    logits = draw_logits(of, split, 2, SPREAD, np.random.default_rng(1))
    per_patient = fold_scores(patient_right(of, logits), of.labels, split.tested, 3)
    per_image = fold_scores(image_right(logits), of.labels[of.patient], split.tested[..., of.patient], 3)
    for study, arm, repeat, fold in np.ndindex(3, 2, 2, 3):
        images = split.tested[study, repeat][of.patient] == fold
        right, y = 1 / (1 + np.exp(-logits[study, arm, repeat, images])), of.labels[of.patient][images]
        malignant = np.where(y == 1, right, 1 - right)
        wanted = classification_metrics(y, np.stack([1 - malignant, malignant], 1), of.patient[images].tolist())
        at = (study, arm, repeat * 3 + fold)
        assert per_patient[at] == pytest.approx(wanted["patient_balanced_accuracy"])
        assert per_image[at] == pytest.approx(wanted["balanced_accuracy"])


def test_patients_mean_probability_by_hand() -> None:
    of = Cohort(np.array([0, 1]), np.array([2, 1]))
    logits = np.log(np.array([[0.9 / 0.1, 0.2 / 0.8, 0.4 / 0.6]]))
    np.testing.assert_allclose(patient_probability(of, logits), [[0.55, 0.4]])
    assert patient_right(of, logits).tolist() == [[True, False]]


def test_terms_of_a_logit_are_shared_as_documented() -> None:
    """One term of the model at a time: which units are correlated."""
    of = cohort(4, 4)
    split = folds(of, 400, 2, 2)
    none = replace(SPREAD, **{k: 0.0 for k in SPREAD.__dataclass_fields__ if k != "levels"}, levels=(0.0, 0.0))

    def draw(**parts: float) -> np.ndarray:
        return draw_logits(of, split, 2, replace(none, **parts), np.random.default_rng(0))  # [S, A, R, M]

    first = np.searchsorted(of.patient, np.arange(8))  # the first image of each patient
    patient = draw(patient=1.0)
    assert np.array_equal(patient[:, 0, 0], patient[:, 1, 1])
    assert np.array_equal(patient[..., first][..., of.patient], patient)
    lasting = draw(lasting=1.0)
    assert np.array_equal(lasting[:, :, 0], lasting[:, :, 1])
    assert abs(np.corrcoef(lasting[:, 0, 0].ravel(), lasting[:, 1, 0].ravel())[0, 1]) < 0.05
    passing = draw(passing=1.0)[..., first]
    assert abs(np.corrcoef(passing[:, :, 0].ravel(), passing[:, :, 1].ravel())[0, 1]) < 0.05
    run = draw(run=1.0)[0, 0, 0][first]
    assert len(np.unique(run)) == 2  # two folds
    bias = draw(bias=1.0)[0, 0, 0][first]
    same_fold = split.tested[0, 0] == split.tested[0, 0, 0]
    assert set(np.round(bias[same_fold] * np.where(of.labels[same_fold] == 0, 1, -1), 6).tolist()) == {
        np.round(float(bias[0]), 6)
    }
    training = draw(training=1.0)[:, 0, :, first].std()
    assert training == pytest.approx(1 / np.sqrt(4), rel=0.05)  # the mean of four training patients
    for value in (patient, lasting):
        assert value.mean() == pytest.approx(0, abs=0.1)
        assert value.std() == pytest.approx(1, rel=0.05)


def test_injected_points_are_points_of_the_metric() -> None:
    of = cohort(20, 40)
    effects = (0.0, 0.02, 0.1, -0.05)
    shifts = shift_for(of, SPREAD, effects, np.random.default_rng(0))
    assert shifts[0] == 0
    split = folds(of, 600, 1, 5)
    logits = draw_logits(of, split, 2, SPREAD, np.random.default_rng(2))
    base = fold_scores(patient_right(of, logits[:, :1]), of.labels, split.tested, 5).mean()
    for effect, shift in zip(effects, shifts, strict=True):
        arm = fold_scores(patient_right(of, logits[:, 1:] + shift), of.labels, split.tested, 5).mean()
        assert arm - base == pytest.approx(effect, abs=0.008)
    with pytest.raises(ConfigError, match="cannot be injected"):
        shift_for(of, SPREAD, [0.4], np.random.default_rng(0))
