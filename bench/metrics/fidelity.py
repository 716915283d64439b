"""Distances between real and synthetic images in a feature space, on plain arrays of features.

FID, KID, precision and recall are torch-fidelity's functions. The feature extractor and its weights are part of the
metric's name (``FeatureExtractor.tag``), because the same images score differently under another network.

Small sets: FID is biased upward by about (constant of the network) / n, and its covariance is singular when n is below
the number of features. So compare it only at equal n and beside the real-vs-real baseline
(``bench.metrics.real_baseline``). KID is unbiased at any n and may be slightly negative. KID, recall and coverage are
the main metrics.

Precision and density are reliable only if recall is not near 0, and at the extractor's default input size. Images that
a network does not respond to have short feature vectors, near the origin, and the balls of a few plain real images
reach there. Measured with tf_efficientnet_lite0 against 120 BreakHis images: uniform noise gets a precision of 0.36,
0.79, 0.24 and 0.00 at 64, 96, 128 and 224 px, plain colours 1.00, 1.00, 1.00 and 0.01, where held-out real images get
0.73 to 0.79; their recall is 0.00, their coverage at most 0.13, and their KID far from 0 at every size. The cause is
the features, not the number of images: at 96 px noise gets 0.80 to 1.00 with 30 to 240 real images, because it lies in
8 to 10 balls, and 0.00 if features are scaled to length 1 (which torch-fidelity does not do, so neither does this
module).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from bench.errors import DataError
from bench.metrics.coverage import density_coverage

Features = npt.NDArray[np.floating]
KID_SUBSETS, KID_SUBSET_SIZE = 100, 1000  # torch-fidelity's defaults; the subset size is limited by the smaller set
PRC_NEIGHBOURS = 3
SEED = 2020  # torch-fidelity's default, so that its command line gives the same KID
NAN = float("nan")


def fidelity_metrics(
    real: Features, synthetic: Features, seed: int = SEED, fid: Callable[[Features, Features], float] | None = None
) -> dict[str, float]:
    """Return the distances between real [N, D] and synthetic features [M, D]; ``fid`` defaults to ``frechet_distance``.

    Keys: fid (>= 0, lower is better), kid (0 for the same distribution, lower is better), kid_subset_size, precision
    and recall (in [0, 1]), density (>= 0), coverage (in [0, 1]), n_real, n_synthetic. NaN if the sets are too small for
    a definition: fid and kid below 2 images, precision and recall below 4, density and coverage below 6 real ones.
    Raises ``DataError`` on features of unequal width or that are not finite.
    """
    real, synthetic = check_features(real, synthetic)
    kid, subset_size = kernel_distance(real, synthetic, seed)
    precision, recall = precision_recall(real, synthetic)
    density, coverage = density_coverage(real, synthetic)
    return {
        "fid": (fid or frechet_distance)(real, synthetic),
        "kid": kid,
        "kid_subset_size": float(subset_size),
        "precision": precision,
        "recall": recall,
        "density": density,
        "coverage": coverage,
        "n_real": float(len(real)),
        "n_synthetic": float(len(synthetic)),
    }


def check_features(real: Features, synthetic: Features) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return both as float32. Raises ``DataError`` unless they are finite [N, D] and [M, D]."""
    if real.ndim != 2 or synthetic.ndim != 2 or real.shape[1] != synthetic.shape[1]:
        raise DataError(f"expected features [N, D] and [M, D] of one extractor; got {real.shape}, {synthetic.shape}")
    if not (np.isfinite(real).all() and np.isfinite(synthetic).all()):
        raise DataError("features are not finite: the extractor overflowed, or its weights are damaged")
    return real.astype(np.float32), synthetic.astype(np.float32)


def frechet_distance(real: Features, synthetic: Features) -> float:
    """Return |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)) (Heusel et al. 2017, eq. 6), covariances with n - 1.

    This is torch-fidelity's function, including its rounding: with fewer images than features D the matrix C1 C2 has
    eigenvalues that should be 0 and come out near 1e-15, whose roots add up, and means are taken in float32. The result
    is below the exact one (``frechet_distance_low_rank``) by a relative 3e-7 to 9e-7 on real images. The D x D
    eigenproblem takes 0.65 s on one core for D = 1280 and 3.1 s for D = 2048, for any number of images. NaN with fewer
    than 2 images on a side.
    """
    if min(len(real), len(synthetic)) < 2:
        return NAN
    import torch
    from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_features_to_statistics, fid_statistics_to_metric

    statistics = [fid_features_to_statistics(torch.from_numpy(x)) for x in (synthetic, real)]
    return float(fid_statistics_to_metric(*statistics, verbose=False)[KEY_METRIC_FID])


def frechet_distance_low_rank(real: Features, synthetic: Features) -> float:
    """Return the same distance in milliseconds, exact to 1e-12, for fewer images than features: for reference values.

    With centred features A [D, N] and B [D, M], scaled so that C1 = A A^T and C2 = B B^T, the nonzero eigenvalues of C1
    C2 are the squared singular values of A^T B [N, M]. So the trace of the root is their sum. With more images than
    features it is ``frechet_distance``.
    """
    if min(len(real), len(synthetic)) < 2:
        return NAN
    if min(len(real), len(synthetic)) > real.shape[1]:
        return frechet_distance(real, synthetic)
    a, b = (np.asarray(x, dtype=np.float64) for x in (real, synthetic))
    shift = a.mean(axis=0) - b.mean(axis=0)
    a, b = ((x - x.mean(axis=0)) / np.sqrt(len(x) - 1) for x in (a, b))
    root_trace = np.linalg.svd(a @ b.T, compute_uv=False).sum()
    return float(shift @ shift + np.square(a).sum() + np.square(b).sum() - 2 * root_trace)


def kernel_distance(real: Features, synthetic: Features, seed: int = SEED) -> tuple[float, int]:
    """Return KID (Binkowski et al. 2018): unbiased squared MMD, kernel (x.y / D + 1)^3, and the size of its subsets.

    The mean over 100 random subsets of min(1000, N, M) images. Their standard deviation is not a standard error
    (subsets overlap; at the full size they are identical), so it is not returned. NaN with fewer than 2 images on a
    side.
    """
    size = min(KID_SUBSET_SIZE, len(real), len(synthetic))
    if size < 2:
        return NAN, size
    import torch
    from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, kid_features_to_metric

    result = kid_features_to_metric(
        torch.from_numpy(synthetic),
        torch.from_numpy(real),
        kid_subsets=KID_SUBSETS,
        kid_subset_size=size,
        rng_seed=seed,
        verbose=False,
    )
    return float(result[KEY_METRIC_KID_MEAN]), size


def precision_recall(real: Features, synthetic: Features) -> tuple[float, float]:
    """Return improved precision and recall (Kynkaanniemi et al. 2019, eq. 1 and 2; 3 neighbours), each in [0, 1].

    Precision: share of synthetic images within the balls of real ones; recall: the reverse. NaN below 4 images on a
    side, because there is no third neighbour.
    """
    if min(len(real), len(synthetic)) <= PRC_NEIGHBOURS:
        return NAN, NAN
    import torch
    from torch_fidelity.metric_prc import KEY_METRIC_PRECISION, KEY_METRIC_RECALL, prc_features_to_metric

    result = prc_features_to_metric(
        torch.from_numpy(synthetic), torch.from_numpy(real), prc_neighborhood=PRC_NEIGHBOURS, verbose=False
    )
    return float(result[KEY_METRIC_PRECISION]), float(result[KEY_METRIC_RECALL])
