"""How stable the ranking of arms is: shares of bootstrap draws (Maier-Hein et al. 2018; Wiesenfarth et al. 2021)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bench.errors import DataError
from bench.stats.bootstrap import pigeonhole_weights

Floats = npt.NDArray[np.float64]


def rank_shares(contributions: npt.ArrayLike, draws: int = 2000, seed: int = 0, higher: bool = True) -> Floats:
    """Return the share of bootstrap draws in which arm a has rank k, float64 [A, A]; rows and columns sum to 1.

    ``contributions`` float [A, R, G] of A arms on the same R training sets (or repeats of k-fold) and G test groups;
    rank 0 is the best, and ``higher`` says whether that is the highest score. A draw resamples sets and groups
    independently (the pigeonhole bootstrap; Owen 2007), groups alone where R is 1. Arms with equal scores share their
    ranks equally. Raises ``DataError`` for another shape or values that are not finite.
    """
    x = np.asarray(contributions, dtype=np.float64)
    if x.ndim != 3 or not x.size or not np.isfinite(x).all():
        raise DataError(f"got contributions of shape {x.shape}; expected finite ones, [arms, sets, groups]")
    arms, sets, groups = x.shape
    of_sets, of_groups = pigeonhole_weights(sets, groups, draws, np.random.default_rng(seed))
    scores = np.einsum("br,arg,bg->ba", of_sets, x, of_groups, optimize=True) * (-1 if higher else 1)
    scores = np.round(scores / max(float(np.abs(scores).max()), 1e-300), 12)  # equal up to rounding is equal
    shares = np.zeros((arms, arms))
    for a in range(arms):
        before = (scores < scores[:, a, None]).sum(axis=1)
        tied = (scores == scores[:, a, None]).sum(axis=1)
        for k in range(arms):
            shares[a, k] = np.mean(((before <= k) & (k < before + tied)) / tied)
    return shares
