"""FID, KID, precision, recall, density, coverage: torch-fidelity's values, closed forms, small sets."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_kid import kid_features_to_metric
from torch_fidelity.metric_prc import prc_features_to_metric

from bench.errors import DataError
from bench.metrics.coverage import density_coverage
from bench.metrics.fidelity import (
    fidelity_metrics,
    frechet_distance,
    frechet_distance_low_rank,
    kernel_distance,
)


def normal(n: int, d: int, seed: int, shift: float = 0.0, scale: float = 1.0) -> np.ndarray:
    return (np.random.default_rng(seed).normal(size=(n, d)) * scale + shift).astype(np.float32)


def test_equals_torch_fidelity() -> None:
    real, synthetic = normal(90, 16, 0), normal(60, 16, 1, shift=0.3)
    got = fidelity_metrics(real, synthetic)
    a, b = torch.tensor(synthetic), torch.tensor(real)  # its order: generated, real
    fid = fid_statistics_to_metric(fid_features_to_statistics(a), fid_features_to_statistics(b), False)
    kid = kid_features_to_metric(a, b, kid_subset_size=60, verbose=False)
    prc = prc_features_to_metric(a, b, verbose=False)
    assert got["fid"] == fid["frechet_inception_distance"]
    assert got["kid"] == kid["kernel_inception_distance_mean"]
    assert (got["precision"], got["recall"]) == (prc["precision"], prc["recall"])
    assert (got["kid_subset_size"], got["n_real"], got["n_synthetic"]) == (60, 90, 60)


def test_fid_of_gaussians_is_the_closed_form() -> None:
    """Moments set exactly: mean 0 against 2, unit variance against 9 in 3 dimensions: 3*4 + 3*(1 - 3)^2 = 24."""
    x = np.random.default_rng(0).normal(size=(400, 3))
    x = x - x.mean(0)
    white = x @ np.linalg.inv(np.linalg.cholesky(np.cov(x, rowvar=False))).T
    assert frechet_distance(white, 3 * white + 2) == pytest.approx(24, rel=1e-5)
    assert frechet_distance(white, white) == pytest.approx(0, abs=1e-5)


def test_kid_is_near_zero_for_one_distribution_and_large_for_two() -> None:
    real = normal(200, 8, 0)
    same, _ = kernel_distance(real, normal(200, 8, 1))
    other, _ = kernel_distance(real, normal(200, 8, 2, shift=1.0))
    assert abs(same) < 0.05
    assert other > 20 * abs(same)


def test_kid_is_unbiased_at_thirty_images() -> None:
    values = [kernel_distance(normal(30, 8, s), normal(30, 8, 1000 + s))[0] for s in range(60)]
    assert abs(np.mean(values)) < 4 * np.std(values) / math.sqrt(len(values))
    assert min(values) < 0 < max(values)


def test_kid_is_the_same_every_time() -> None:
    real, synthetic = normal(40, 8, 0), normal(30, 8, 1)
    assert kernel_distance(real, synthetic) == kernel_distance(real, synthetic)
    assert kernel_distance(real, synthetic, seed=1) != kernel_distance(real, synthetic, seed=2)


def test_precision_and_recall_show_missing_modes() -> None:
    rng = np.random.default_rng(0)
    real = np.concatenate([normal(60, 4, 0, -6), normal(60, 4, 1, 6)])
    one_mode = fidelity_metrics(real, normal(60, 4, 2, 6))
    assert one_mode["precision"] > 0.6
    assert one_mode["recall"] < 0.6
    assert one_mode["coverage"] < 0.6
    noise = fidelity_metrics(real, rng.uniform(-40, 40, (60, 4)).astype(np.float32))
    assert noise["precision"] < 0.1
    assert noise["density"] < 0.1


def test_density_and_coverage_by_hand() -> None:
    real = np.arange(6, dtype=float)[:, None]  # k = 1: every ball reaches to distance 1
    density, coverage = density_coverage(real, np.array([[0.0], [2.5]]), neighbours=1)
    assert density == pytest.approx((2 + 2) / 2 / 1)  # 0.0 is in the balls of 0 and 1, 2.5 in those of 2 and 3
    assert coverage == pytest.approx(4 / 6)


@pytest.mark.parametrize(
    ("n", "m", "width", "offset"), [(6, 1, 3, 0), (40, 30, 8, 0), (600, 90, 64, 0), (300, 200, 16, 1000)]
)
def test_density_and_coverage_equal_the_direct_formula_also_for_copies(n: int, m: int, width: int, offset: int) -> None:
    """An exact copy of a neighbour lies on the edge of the ball, where rounding would decide."""
    from scipy.spatial.distance import cdist

    rng = np.random.default_rng(n)
    real = (rng.normal(size=(n, width)) + offset).astype(np.float32)
    made = (0.9 * rng.normal(size=(m, width)) + offset).astype(np.float32)
    made[: m // 2] = real[rng.integers(0, n, m // 2)]
    repeated = np.concatenate([real, real[: n // 3], np.repeat(real[:1], 9, axis=0)])
    for reference in (real, repeated):
        within = np.partition(cdist(reference, reference), 5, axis=1)[:, 5]
        inside = cdist(reference, made) <= within[:, None]
        assert density_coverage(reference, made) == (inside.sum() / m / 5, inside.any(axis=1).mean())
    assert density_coverage(real, real[:m] * 0 + 1e9) == (0, 0)


def test_density_and_coverage_of_a_perfect_generator() -> None:
    found = [density_coverage(normal(400, 3, s), normal(400, 3, 100 + s)) for s in range(4)]
    density, coverage = np.mean(found, axis=0)
    assert density == pytest.approx(1, abs=0.05)
    assert coverage == pytest.approx(1 - 0.5**5, abs=0.02)  # Naeem et al., eq. 9


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 6, 30])
def test_small_sets_give_nan_and_never_a_crash(n: int) -> None:
    got = fidelity_metrics(normal(n, 32, 0), normal(n, 32, 1))
    finite = {k for k in ("fid", "kid", "precision", "recall", "density", "coverage") if math.isfinite(got[k])}
    wanted = {"fid", "kid"} if n >= 2 else set()
    wanted |= {"precision", "recall"} if n >= 4 else set()
    wanted |= {"density", "coverage"} if n >= 6 else set()
    assert finite == wanted
    assert got["kid_subset_size"] == n


def test_unequal_small_sets() -> None:
    got = fidelity_metrics(normal(30, 8, 0), normal(1, 8, 1))
    assert math.isnan(got["fid"])
    assert math.isfinite(got["coverage"])
    assert math.isnan(fidelity_metrics(normal(30, 8, 0), np.zeros((0, 8), np.float32))["density"])


def test_invalid_features_are_a_typed_error() -> None:
    with pytest.raises(DataError, match="one extractor"):
        fidelity_metrics(normal(9, 4, 0), normal(9, 5, 0))
    with pytest.raises(DataError, match="finite"):
        fidelity_metrics(normal(9, 4, 0), np.full((9, 4), np.nan, np.float32))


@pytest.mark.parametrize(("n", "m"), [(40, 30), (30, 90), (200, 200)])
def test_fid_of_few_images_equals_the_root_of_the_whole_covariance(n: int, m: int) -> None:
    """The shortcut through N x M against tr((C1^1/2 C2 C1^1/2)^1/2) by symmetric eigenproblems, D = 256."""
    rng = np.random.default_rng(n)
    real, synthetic = rng.gamma(2, 1, (n, 256)), rng.gamma(3, 1, (m, 256))
    c1, c2 = np.cov(real, rowvar=False), np.cov(synthetic, rowvar=False)
    values, vectors = np.linalg.eigh(c1)
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    inner = np.linalg.eigvalsh(root @ c2 @ root)
    inner = inner[inner > inner.max() * 1e-12]  # the rest is rounding, whose roots would add up
    shift = real.mean(axis=0) - synthetic.mean(axis=0)
    expected = shift @ shift + np.trace(c1) + np.trace(c2) - 2 * np.sqrt(inner).sum()
    assert frechet_distance_low_rank(real, synthetic) == pytest.approx(expected, rel=1e-12)
    assert frechet_distance(real.astype(np.float32), synthetic.astype(np.float32)) == pytest.approx(expected, rel=1e-5)


def test_the_difference_is_rounding_of_torch_fidelity() -> None:
    """Six images each, 40 features, the distance in 60 digits: equals the low-rank form; torch-fidelity rounds."""
    import mpmath

    real, synthetic = (normal(6, 40, s).astype(np.float64) for s in (0, 1))
    with mpmath.workdps(60):
        a, b = (mpmath.matrix(x.tolist()) for x in (real, synthetic))
        means = [mpmath.matrix([sum(x[i, j] for i in range(6)) / 6 for j in range(40)]) for x in (a, b)]
        for x, mean in zip((a, b), means, strict=True):
            for i in range(6):
                for j in range(40):
                    x[i, j] = (x[i, j] - mean[j]) / mpmath.sqrt(5)
        cross = a * b.T
        squares = mpmath.eigsy(cross * cross.T, eigvals_only=True)
        root = sum(mpmath.sqrt(v) for v in squares if v > mpmath.mpf(10) ** -50)
        traces = sum(v * v for x in (a, b) for v in x)
        exact = float(sum((p - q) ** 2 for p, q in zip(*means, strict=True)) + traces - 2 * root)
    assert frechet_distance_low_rank(real, synthetic) == pytest.approx(exact, rel=1e-13)
    theirs = frechet_distance(real.astype(np.float32), synthetic.astype(np.float32))
    assert 1e-10 < abs(theirs / exact - 1) < 1e-6
