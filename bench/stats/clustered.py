"""Proportions of clustered answers: several answers about the same item are not independent.

Raters are fixed: the intervals are for the same raters and more items, not for other raters.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

NAN = math.nan
Ends = tuple[float, float]


def design_effect(hits: npt.ArrayLike, sizes: npt.ArrayLike) -> float:
    """Return the design effect: variance of sum(hits) / sum(sizes) relative to independent answers.

    ``hits`` and ``sizes`` [N]: positive answers and all answers for each of N items. Rao & Scott (1992), "A simple
    method for the analysis of clustered binary data", Biometrics 48: the variance of a ratio over the binomial one. It
    is limited to the range from 1 (never better than independent answers, as in Korn & Graubard 1998) to sum(sizes²) /
    sum(sizes), the value if all answers about an item are equal. The upper limit is also used if nothing can be
    estimated: for one item, and if all answers are equal. NaN for no answers.
    """
    x, n = np.asarray(hits, dtype=np.float64), np.asarray(sizes, dtype=np.float64)
    if not n.sum():
        return NAN
    most = float((n**2).sum() / n.sum())
    share = x.sum() / n.sum()
    if len(n) < 2 or share in (0, 1):
        return most
    variance = len(n) / (len(n) - 1) * float(((x - share * n) ** 2).sum()) / n.sum() ** 2
    return float(np.clip(variance / (share * (1 - share) / n.sum()), 1, most))


def clustered_wilson(hits: npt.ArrayLike, sizes: npt.ArrayLike, alpha: float = 0.05) -> Ends:
    """Return Wilson's (1927) interval of sum(hits) / sum(sizes) with the effective number of clustered answers.

    Both are divided by the design effect first; with one answer per item it is Wilson's interval. NaN for no answers.
    """
    total, effect = float(np.sum(sizes)), design_effect(hits, sizes)
    if not total:
        return NAN, NAN
    share, n, z = float(np.sum(hits)) / total, total / effect, NormalDist().inv_cdf(1 - alpha / 2)
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(share * (1 - share) / n + (z / (2 * n)) ** 2) / (1 + z * z / n)
    return 0.0 if share == 0 else middle - half, 1.0 if share == 1 else middle + half


def difference(a: float, ends_a: Ends, b: float, ends_b: Ends) -> tuple[float, float, float]:
    """Return a - b of two independent proportions with an interval, from the interval of each; NaN if one is NaN.

    Newcombe's (1998) method 10, which Zou & Donner (2008) show to be valid for other intervals than Wilson's too.
    """
    (low_a, high_a), (low_b, high_b) = ends_a, ends_b
    return a - b, a - b - math.hypot(a - low_a, high_b - b), a - b + math.hypot(high_a - a, b - low_b)
