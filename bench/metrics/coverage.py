"""Density and coverage of synthetic features (Naeem et al. 2020), on plain arrays."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

NEIGHBOURS = 5


def density_coverage(
    real: npt.NDArray[np.floating], synthetic: npt.NDArray[np.floating], neighbours: int = NEIGHBOURS
) -> tuple[float, float]:
    """Return density (>= 0, expected 1 for a perfect generator) and coverage (in [0, 1]) of float [N, D] and [M, D].

    The radius of a real image's ball is the distance to its k-th nearest other real image. Density (eq. 4) is the mean
    number of balls that contain a synthetic image, divided by k; coverage (eq. 5) is the share of real images whose
    ball contains a synthetic one. A perfect generator's expected coverage is 1 - (1/2)^k for large equal sets (their
    eq. 9), 0.97 for k = 5: it is not 1. NaN when there are not more than k real images, or no synthetic one.
    """
    if len(real) <= neighbours or len(synthetic) == 0:
        return float("nan"), float("nan")
    from scipy.spatial.distance import cdist

    within = np.partition(cdist(real, real), neighbours, axis=1)[:, neighbours]  # column 0 is the image itself
    inside = cdist(real, synthetic) <= within[:, None]
    return float(inside.sum(axis=0).mean() / neighbours), float(inside.any(axis=1).mean())
