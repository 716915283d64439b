"""Similarity of the two images of a pair (such as cycle reconstructions): SSIM, PSNR, MSE and L1, image by image.

The TL-S-CycleGAN publication reports SSIM, PSNR and MSE between a translation and an *unrelated* image of the target
domain: ``unpaired_quality``. This does not measure quality (two unrelated real images score no better). It is included
only for comparison with the publication; its keys contain ``unpaired/``.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from bench.errors import DataError
from bench.types import Uint8Images

Values = npt.NDArray[np.float64]
PEAK = 255
SIGMA = 1.5  # of the Gaussian window, in pixels
WINDOW_PX = 11  # side of the window: the Gaussian is truncated at 3.5 sigma


def paired_quality(a: Uint8Images, b: Uint8Images) -> dict[str, Values]:
    """Return 'ssim', 'psnr', 'mse' and 'l1', each float64 [N], of image pairs uint8 [N, H, W, 3], 0..255.

    ssim: Wang et al. 2004, with their settings (Gaussian window of 11 × 11 pixels, sigma 1.5, population covariances,
    K1 0.01, K2 0.03, range 255), the mean over R, G, B and over all windows that lie completely in the image; in [-1,
    1], 1 for identical images.

    mse, l1: mean squared and mean absolute difference of intensities scaled to [0, 1]; both in [0, 1], 0 is identical.

    psnr: 10 log10(1 / mse) in dB, which is peak 255 on the 0..255 scale; ``inf`` for identical images.

    Raises ``DataError`` for arrays of different shape or other dtype, and for images smaller than the window.
    """
    _check(a, b)
    pairs = [_quality(x, y) for x, y in zip(a, b, strict=True)]
    return {name: np.array([p[name] for p in pairs], dtype=np.float64) for name in pairs[0]}


def _quality(x: npt.NDArray[np.uint8], y: npt.NDArray[np.uint8]) -> dict[str, float]:
    from skimage.metrics import structural_similarity

    settings = {"gaussian_weights": True, "sigma": SIGMA, "use_sample_covariance": False, "data_range": PEAK}
    difference = (x.astype(np.float64) - y) / PEAK
    mse = float(np.square(difference).mean())
    return {
        "ssim": float(structural_similarity(x, y, channel_axis=-1, **settings)),
        "psnr": -10 * math.log10(mse) if mse else math.inf,
        "mse": mse,
        "l1": float(np.abs(difference).mean()),
    }


def unpaired_quality(translated: Uint8Images, target: Uint8Images) -> dict[str, Values]:
    """Return 'ssim', 'psnr' and 'mse' [min(N, M)] of the i-th translation and the i-th real image of the target domain.

    As in the publication: two unrelated images of [N, H, W, 3] and [M, H, W, 3], paired by index. Does not measure the
    quality of a translation.
    """
    n = min(len(translated), len(target))
    values = paired_quality(translated[:n], target[:n])
    return {name: values[name] for name in ("ssim", "psnr", "mse")}


def mean_quality(values: dict[str, Values], samples: int) -> dict[str, float]:
    """Return the means over images; ``samples`` is the number of intensities in an image (H · W · 3).

    The mean PSNR is the mean of the images' PSNRs, as in papers. An identical pair would make it infinite, so such a
    pair counts as if a single intensity differed by one level: the highest PSNR of a pair that is not identical.
    """
    best = 10 * np.log10(PEAK**2 * samples)
    return {name: float(np.minimum(v, best).mean() if name == "psnr" else v.mean()) for name, v in values.items()}


def _check(a: Uint8Images, b: Uint8Images) -> None:
    if a.shape != b.shape or a.ndim != 4 or a.shape[-1] != 3 or not len(a):
        raise DataError(f"pairs of images: got {a.shape} and {b.shape}, expected two of [N, H, W, 3], N >= 1")
    if a.dtype != np.uint8 or b.dtype != np.uint8:
        raise DataError(f"pairs of images: got {a.dtype} and {b.dtype}, expected uint8")
    if min(a.shape[1:3]) < WINDOW_PX:
        raise DataError(f"SSIM needs images of at least {WINDOW_PX} × {WINDOW_PX} pixels, got {a.shape[1:3]}")
