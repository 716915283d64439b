"""SSIM, PSNR, MSE and L1 of image pairs: against scikit-image, the paper's formula, closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import convolve2d
from skimage.metrics import mean_squared_error, peak_signal_noise_ratio

from bench.errors import DataError
from bench.metrics.paired_quality import mean_quality, paired_quality, unpaired_quality


def noise(n: int, size: int = 24, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, size, size, 3), dtype=np.uint8)


def grey(level: int, n: int = 1, size: int = 24) -> np.ndarray:
    return np.full((n, size, size, 3), level, np.uint8)


def test_mse_and_psnr_are_those_of_scikit_image() -> None:
    a, b = noise(3), noise(3, seed=1)
    got = paired_quality(a, b)
    for i in range(3):
        assert got["mse"][i] == pytest.approx(mean_squared_error(a[i] / 255, b[i] / 255))
        assert got["psnr"][i] == pytest.approx(peak_signal_noise_ratio(a[i], b[i], data_range=255))


def test_ssim_is_the_formula_of_wang_2004() -> None:
    """Equations 12 to 16 written out: an 11 × 11 Gaussian window at every position completely in the image."""
    a = noise(1, 32)
    b = np.clip(a.astype(int) + np.random.default_rng(2).normal(0, 40, a.shape), 0, 255).astype(np.uint8)
    bell = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
    window = np.outer(bell, bell) / bell.sum() ** 2
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2

    def smooth(x: np.ndarray) -> np.ndarray:
        return convolve2d(x, window, mode="valid")

    channels = []
    for c in range(3):
        x, y = a[0, ..., c].astype(float), b[0, ..., c].astype(float)
        mx, my = smooth(x), smooth(y)
        vx, vy, vxy = smooth(x * x) - mx**2, smooth(y * y) - my**2, smooth(x * y) - mx * my
        channels.append(((2 * mx * my + c1) * (2 * vxy + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))).mean())
    assert paired_quality(a, b)["ssim"][0] == pytest.approx(np.mean(channels), abs=1e-12)


def test_closed_forms() -> None:
    """Flat images: means 100 and 110, no variance: SSIM is its luminance term (2ab + c1) / (a² + b² + c1)."""
    got = {k: v[0] for k, v in paired_quality(grey(100), grey(110)).items()}
    c1 = (0.01 * 255) ** 2
    assert got["ssim"] == pytest.approx((2 * 100 * 110 + c1) / (100**2 + 110**2 + c1))
    assert got["mse"] == pytest.approx((10 / 255) ** 2)
    assert got["l1"] == pytest.approx(10 / 255)
    assert got["psnr"] == pytest.approx(20 * np.log10(255 / 10))
    black = {k: v[0] for k, v in paired_quality(grey(0), grey(255)).items()}
    assert (black["mse"], black["l1"], black["psnr"]) == (1, 1, 0)


def test_identical_images_and_their_part_in_the_mean() -> None:
    a = noise(2)
    b = a.copy()
    b[1, 0, 0, 0] ^= 1  # one intensity, one level
    got = paired_quality(a, b)
    assert (got["ssim"][0], got["mse"][0], got["l1"][0], got["psnr"][0]) == (1, 0, 0, np.inf)
    samples = a[0].size
    assert got["psnr"][1] == pytest.approx(10 * np.log10(255**2 * samples))
    means = mean_quality(got, samples)
    assert means["psnr"] == pytest.approx(got["psnr"][1]), "an identical pair counts as the best of the unlike ones"
    assert means["ssim"] == pytest.approx(got["ssim"].mean())
    far = paired_quality(grey(0), grey(255))
    assert mean_quality(far, samples)["psnr"] == 0


def test_the_unpaired_variant_pairs_by_index_and_does_not_measure_quality() -> None:
    a, b = noise(5), noise(3, seed=1)
    got = unpaired_quality(a, b)
    assert set(got) == {"ssim", "psnr", "mse"}
    assert got["mse"].tolist() == paired_quality(a[:3], b)["mse"].tolist()


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (noise(2), noise(3), "expected two of"),
        (noise(0), noise(0), "N >= 1"),
        (noise(2), noise(2).astype(float), "uint8"),
        (noise(1, 10), noise(1, 10), "at least 11"),
    ],
)
def test_other_arrays_are_refused(a: np.ndarray, b: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=message):
        paired_quality(a, b)
