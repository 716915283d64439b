"""Inter-rater agreement: Fleiss' kappa for categories, intraclass correlations for scores; functions of arrays."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

NAN = float("nan")
RESAMPLES = 2000


class Icc(NamedTuple):
    """Intraclass correlations of scores: ``single`` is ICC(2,1), ``mean`` of the raters ICC(2,k)."""

    single: float
    mean: float


def fleiss_kappa(counts: npt.ArrayLike) -> float:
    """Return Fleiss' kappa, at most 1, 0 for chance; ``counts`` [N, K]: number of raters who put n into category k.

    Subjects may have different numbers of ratings (Fleiss & Cuzick 1979; Fleiss, Levin & Paik 2003, "Statistical
    Methods for Rates and Proportions", ch. 18): with x_nk of subject n's m_n ratings in category k, and the categories'
    shares p_k of all ratings,

        1 - sum_n sum_k x_nk (m_n - x_nk) / m_n / (sum_n (m_n - 1) * sum_k p_k (1 - p_k)).

    For equal numbers of ratings this equals Fleiss' (1971) kappa. Subjects with fewer than 2 ratings carry no
    information about agreement and are excluded. NaN if none remains, or when all ratings are in one category.
    """
    n = np.asarray(counts, dtype=np.float64)
    if n.ndim != 2:
        return NAN
    n = n[n.sum(axis=1) >= 2]
    ratings = n.sum(axis=1, keepdims=True)
    if not len(n) or (n.sum(axis=0) > 0).sum() < 2:
        return NAN
    shares = n.sum(axis=0) / n.sum()
    by_chance = float((ratings - 1).sum() * (shares * (1 - shares)).sum())
    return 1 - float((n * (ratings - n) / ratings).sum()) / by_chance


def icc_two_way_random(ratings: npt.ArrayLike) -> Icc:
    """Return ICC(2,1) and ICC(2,k) of ``ratings`` [N, k], a score of each target by each rater, none missing.

    Shrout & Fleiss (1979): targets and raters are both drawn at random, and systematic differences between raters count
    against agreement. With BMS, JMS and EMS (targets, raters, residual) of the two-way analysis of variance: (BMS -
    EMS) / (BMS + (k - 1) EMS + k (JMS - EMS) / N) and (BMS - EMS) / (BMS + (JMS - EMS) / N); at most 1, and below 0
    when targets differ less than by chance. NaN for fewer than 2 targets or raters, or without variance.
    """
    x = np.asarray(ratings, dtype=np.float64)
    if x.ndim != 2 or min(x.shape) < 2 or np.ptp(x) == 0:
        return Icc(NAN, NAN)
    n, k = x.shape
    targets, raters, grand = x.mean(axis=1), x.mean(axis=0), x.mean()
    bms = k * float(((targets - grand) ** 2).sum()) / (n - 1)
    jms = n * float(((raters - grand) ** 2).sum()) / (k - 1)
    residual = x - targets[:, None] - raters[None, :] + grand
    ems = float((residual**2).sum()) / ((n - 1) * (k - 1))
    single, mean = bms + (k - 1) * ems + k * (jms - ems) / n, bms + (jms - ems) / n
    return Icc(_share(bms - ems, single), _share(bms - ems, mean))


def bootstrap_mean(values: npt.ArrayLike, seed: int = 0, alpha: float = 0.05) -> tuple[float, float, float]:
    """Return the mean of N values and its percentile bootstrap interval (Efron 1979).

    NaN for no value; no interval for one value, nor without variance. The same values give the same interval.
    """
    x = np.asarray(values, dtype=np.float64)
    if len(x) < 2 or np.ptp(x) == 0:
        return (float(x[0]) if len(x) else NAN), NAN, NAN
    drawn = np.random.default_rng(seed).integers(len(x), size=(RESAMPLES, len(x)))
    low, high = np.quantile(x[drawn].mean(axis=1), [alpha / 2, 1 - alpha / 2])
    return float(x.mean()), float(low), float(high)


def _share(part: float, whole: float) -> float:
    return part / whole if math.isfinite(whole) and whole > 0 else NAN
