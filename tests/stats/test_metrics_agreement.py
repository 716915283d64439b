"""Inter-rater agreement, against published examples and other implementations."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bench.stats.agreement import bootstrap_mean, fleiss_kappa, icc_two_way_random

# Fleiss 1971, table 1: 30 patients, 6 psychiatrists each; depression, personality disorder, schizophrenia, neurosis,
# other
FLEISS = """00060 03003 01401 00006 03030 20400 00402 20310 20040 00006 10050 11040 03300 10050 02031
            00501 30012 51000 02040 10203 00006 01050 02013 20040 10041 05010 40002 02040 10500 00006"""
# Shrout & Fleiss 1979, table 2: 6 targets, 4 raters
SHROUT = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]


def table() -> np.ndarray:
    return np.array([[int(c) for c in row] for row in FLEISS.split()])


def test_fleiss_published_example() -> None:
    counts = table()
    assert (counts.sum(axis=1) == 6).all()
    assert counts.sum(axis=0) / 180 == pytest.approx([0.144, 0.144, 0.167, 0.306, 0.239], abs=5e-4)
    assert fleiss_kappa(counts) == pytest.approx(0.430, abs=5e-4)


@pytest.mark.parametrize("seed", range(5))
def test_fleiss_against_statsmodels(seed: int) -> None:
    from statsmodels.stats.inter_rater import fleiss_kappa as reference

    counts = np.random.default_rng(seed).multinomial(7, [0.5, 0.2, 0.3], size=12)
    assert fleiss_kappa(counts) == pytest.approx(reference(counts))


def test_fleiss_extremes() -> None:
    assert fleiss_kappa([[3, 0], [0, 3], [3, 0]]) == pytest.approx(1)
    assert fleiss_kappa([[1, 1], [1, 1]]) == pytest.approx(-1)
    for undefined in ([], [[1, 0], [0, 1]], [[4, 0], [4, 0]]):
        assert math.isnan(fleiss_kappa(undefined))


def test_fleiss_of_unequal_numbers_of_ratings() -> None:
    """The example of Fleiss (1981) in Stata's manual of `kappa`: 25 subjects with 2 to 5 ratings, 0.5415."""
    ratings = np.array([2, 2, 3, 4, 3, 4, 3, 5, 2, 4, 5, 3, 4, 4, 2, 2, 3, 2, 4, 5, 3, 4, 3, 3, 2])
    positive = np.array([2, 0, 2, 3, 3, 1, 0, 0, 0, 4, 5, 3, 4, 3, 0, 2, 1, 1, 1, 4, 2, 0, 0, 3, 2])
    counts = np.stack([positive, ratings - positive], axis=1)
    assert fleiss_kappa(counts) == pytest.approx(0.5415, abs=5e-5)
    single = np.array([[1, 0], [0, 1], [0, 0], [0, 1]])  # carries no information about agreement
    assert fleiss_kappa(np.concatenate([counts, single])) == fleiss_kappa(counts)
    # two subjects by hand: 1 of 2 and 3 of 3; p = 4/5: 1 - 2 (1/2) / ((1 + 2) 2 (4/5) (1/5))
    assert fleiss_kappa([[1, 1], [3, 0]]) == pytest.approx(1 - 1 / (3 * 0.32))


def test_fleiss_of_unequal_numbers_is_the_mean_of_the_categories() -> None:
    """Of several categories it is the mean of each one's kappa against the rest, weighted by p (1 - p)."""
    rng = np.random.default_rng(3)
    counts = np.stack([rng.multinomial(m, [0.5, 0.3, 0.2]) for m in rng.integers(2, 7, size=15)])
    shares = counts.sum(axis=0) / counts.sum()
    each = [fleiss_kappa(np.stack([c, counts.sum(axis=1) - c], axis=1)) for c in counts.T]
    assert fleiss_kappa(counts) == pytest.approx(np.average(each, weights=shares * (1 - shares)))


def test_icc_published_example() -> None:
    found = icc_two_way_random(SHROUT)
    assert found.single == pytest.approx(0.29, abs=5e-3)
    assert found.mean == pytest.approx(0.62, abs=5e-3)


def test_icc_counts_a_strict_rater_against_agreement() -> None:
    marks = np.array([0.0, 1, 2, 3, 4])
    assert icc_two_way_random(np.stack([marks, marks], axis=1)) == pytest.approx((1, 1))
    # worked by hand: BMS = 5, JMS = 2.5, EMS = 0
    assert icc_two_way_random(np.stack([marks, marks + 1], axis=1)) == pytest.approx((5 / 6, 5 / 5.5))


def test_icc_spearman_brown() -> None:
    """The mean of k scores has the reliability that Spearman & Brown derive from that of a single score."""
    found, k = icc_two_way_random(np.random.default_rng(0).normal(size=(9, 3)) + np.arange(9)[:, None]), 3
    assert found.mean == pytest.approx(k * found.single / (1 + (k - 1) * found.single))


def test_icc_undefined() -> None:
    for undefined in ([[1, 2]], [[1], [2]], [[3, 3], [3, 3]], []):
        assert np.isnan(icc_two_way_random(undefined)).all()


def test_bootstrap_of_a_mean() -> None:
    x = np.random.default_rng(1).normal(3, 1, size=400)
    mean, low, high = bootstrap_mean(x)
    half = 1.96 * x.std(ddof=1) / 20
    assert mean == pytest.approx(x.mean())
    assert (low, high) == pytest.approx((mean - half, mean + half), abs=0.02)
    assert bootstrap_mean(x) == (mean, low, high)
    assert bootstrap_mean([2.0])[0] == 2
    assert np.isnan(bootstrap_mean([2.0])[1:]).all()
    assert np.isnan(bootstrap_mean([2.0, 2.0, 2.0])[1:]).all()  # no variance is not a proof of certainty
    assert np.isnan(bootstrap_mean([])).all()
