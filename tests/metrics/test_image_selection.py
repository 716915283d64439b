"""Rules that select synthetic images: against direct formulas, and in cases whose result is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from bench.errors import DataError
from bench.metrics.image_selection import classifier_agreement, farthest_points, realism, selected


def classes(rng: np.random.Generator, n: int, count: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Return features of ``count`` classes around different directions, and their labels."""
    labels = np.repeat(np.arange(count), n)
    return 5 * np.eye(count, 8)[labels] + rng.normal(0, 0.5, (n * count, 8)), labels


def test_agreement_is_the_log_odds_of_a_logistic_regression() -> None:
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    for count in (2, 3):
        real, labels = classes(rng, 20, count)
        made = rng.normal(0, 3, (30, 8))
        z, mean, sd = real, real.mean(axis=0), real.std(axis=0)
        model = LogisticRegression(class_weight="balanced", max_iter=1000).fit((z - mean) / sd, labels)
        p = model.predict_proba((made - mean) / sd)
        for label in range(count):
            odds = classifier_agreement(real, labels, made, label)
            np.testing.assert_allclose(odds, np.log(p[:, label] / (1 - p[:, label])), rtol=1e-6, atol=1e-6)


def test_images_of_the_wanted_class_are_kept() -> None:
    rng = np.random.default_rng(1)
    real, labels = classes(rng, 20)
    made, drawn_as = classes(rng, 5)
    for rule in ("classifier_agreement", "realism"):
        rows, scores = selected(rule, real, labels, made, label=1, count=5)
        assert drawn_as[rows].tolist() == [1] * 5, rule
        assert scores[rows].min() > scores[drawn_as == 0].max()


def test_realism_is_the_largest_ratio_of_radius_and_distance() -> None:
    rng = np.random.default_rng(2)
    real, made = rng.normal(1, 1, (11, 4)), rng.normal(1, 1, (6, 4))
    found = realism(real, made)
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (real, made))
    radii = np.array([sorted(cdist(a[i : i + 1], a)[0])[3] for i in range(len(a))])
    for i, point in enumerate(b):
        ratios = [r / np.linalg.norm(point - x) for x, r in zip(a, radii, strict=True) if r <= np.median(radii)]
        assert found[i] == pytest.approx(max(ratios))
    assert realism(real, real).min() > found.min()
    assert np.isfinite(realism(real[:2], real[:1])).all()
    with pytest.raises(DataError, match="at least 2"):
        realism(real[:1], made)


def test_short_features_are_not_realistic() -> None:
    """Images that the network does not respond to have features near 0, which no direction of real images has."""
    rng = np.random.default_rng(3)
    real, labels = classes(rng, 20)
    made = np.concatenate([real[:3] + 0.1, 0.01 * rng.normal(size=(3, 8))])
    assert selected("realism", real, labels, made, label=0, count=3)[0].tolist() == [0, 1, 2]


def test_diversity_chooses_the_farthest_points() -> None:
    angles = np.radians([3.0, 0.0, 90.0, 95.0, 180.0])
    made = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    assert farthest_points(made, made[1], 5).tolist() == [1, 4, 2, 3, 0]
    rows, scores = selected("diversity", made[1:2], np.zeros(1, np.int64), made, label=0, count=3)
    assert rows.tolist() == [1, 2, 4]
    assert scores.tolist() == [-3, 0, -2, -3, -1]
    equal = np.ones((4, 2))
    assert sorted(farthest_points(equal, equal[0], 4)) == [0, 1, 2, 3]


def test_invalid_requests_are_refused() -> None:
    real, labels = classes(np.random.default_rng(4), 5)
    with pytest.raises(DataError, match="3 of 2 images"):
        selected("realism", real, labels, real[:2], label=0, count=3)
    with pytest.raises(DataError, match="unknown selection rule"):
        selected("best", real, labels, real, label=0, count=3)
