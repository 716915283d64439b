"""Label agreement: against a direct count, and in cases whose result is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bench.errors import DataError
from bench.metrics.label_agreement import feature_classifier, label_agreement, mistaken_share


def of_classes(rng: np.random.Generator, counts: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return features of each class around its own direction, and their labels."""
    labels = np.repeat(np.arange(len(counts)), counts)
    return 5 * np.eye(len(counts), 8)[labels] + rng.normal(0, 0.5, (len(labels), 8)), labels


def test_it_is_the_mean_recall_of_a_logistic_regression() -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import balanced_accuracy_score

    rng = np.random.default_rng(0)
    real, truth = of_classes(rng, [30, 10, 15])
    made, labels = rng.normal(1, 2, (60, 8)), np.repeat([0, 1, 2], [40, 15, 5])
    mean, sd = real.mean(axis=0), real.std(axis=0)
    plain = LogisticRegression(class_weight="balanced", max_iter=1000).fit((real - mean) / sd, truth)
    expected = balanced_accuracy_score(labels, plain.predict((made - mean) / sd))
    assert 0 < expected < 1
    assert label_agreement(feature_classifier(real, truth), made, labels) == pytest.approx(expected)


def test_new_images_of_a_class_agree_copies_with_the_other_label_do_not_and_noise_is_at_chance() -> None:
    rng = np.random.default_rng(1)
    real, truth = of_classes(rng, [40, 40])
    classifier = feature_classifier(real, truth)
    made, labels = of_classes(rng, [20, 20])
    assert label_agreement(classifier, made, labels) == 1
    assert label_agreement(classifier, real, 1 - truth) == 0
    assert label_agreement(classifier, rng.normal(0, 3, (4000, 8)), np.arange(4000) % 2) == pytest.approx(0.5, abs=0.04)


def test_a_class_counts_as_much_as_another_and_without_images_there_is_none() -> None:
    rng = np.random.default_rng(2)
    classifier = feature_classifier(*of_classes(rng, [20, 20]))
    zeros, _ = of_classes(rng, [100, 0])
    assert label_agreement(classifier, zeros, np.repeat([0, 1], [90, 10])) == 0.5
    assert math.isnan(label_agreement(classifier, zeros[:0], np.zeros(0, np.int64)))
    with pytest.raises(DataError, match="got 100 images and 3 labels"):
        label_agreement(classifier, zeros, np.zeros(3, np.int64))


def test_images_of_other_classes_are_counted_for_each_class() -> None:
    rng = np.random.default_rng(3)
    classifier = feature_classifier(*of_classes(rng, [20, 20, 20]))
    images, _ = of_classes(rng, [20, 10, 30])
    labels = np.repeat([0, 1, 2], [10, 20, 30])  # ten of class 0 are called 1
    assert mistaken_share(classifier, images, labels, (0,)) == pytest.approx(10 / 50)
    assert mistaken_share(classifier, images, labels, (0, 1, 2)) == pytest.approx((10 / 50 + 0 + 0) / 3)
    assert math.isnan(mistaken_share(classifier, images[:20], np.zeros(20, np.int64), (0,)))
    assert math.isnan(mistaken_share(classifier, images[:0], labels[:0], (0, 1)))
