"""Shares of answers, several of them to one thing: such answers stand or fall together and are not independent.

Raters stay as they are: the intervals are of what these raters say of more such things, not of what others would say.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

NAN = math.nan
Ends = tuple[float, float]


def design_effect(hits: npt.ArrayLike, sizes: npt.ArrayLike) -> float:
    """Return how many times the variance of the share sum(hits) / sum(sizes) is that of independent answers.

    ``hits`` and ``sizes`` [N]: of each of N things how many answers of how many hit. Rao & Scott (1992), "A simple
    method for the analysis of clustered binary data", Biometrics 48: the variance of a ratio over the binomial one.
    It is kept between 1 (never better than independent answers, as in Korn & Graubard 1998) and sum(sizes²) /
    sum(sizes), where all answers to a thing are the same; this is also what is taken where nothing can be estimated,
    for one thing and where all answers are alike. NaN for no answers.
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
    """Return Wilson's (1927) interval of sum(hits) / sum(sizes) for as many answers as the clustered ones are worth.

    Both are divided by the design effect first: with one answer a thing it is Wilson's own. NaN for no answers.
    """
    total, effect = float(np.sum(sizes)), design_effect(hits, sizes)
    if not total:
        return NAN, NAN
    share, n, z = float(np.sum(hits)) / total, total / effect, NormalDist().inv_cdf(1 - alpha / 2)
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(share * (1 - share) / n + (z / (2 * n)) ** 2) / (1 + z * z / n)
    return 0.0 if share == 0 else middle - half, 1.0 if share == 1 else middle + half


def difference(a: float, ends_a: Ends, b: float, ends_b: Ends) -> tuple[float, float, float]:
    """Return a - b of two independent shares with an interval, from the interval of each; NaN where one is.

    Newcombe's (1998) method 10, which Zou & Donner (2008) show to hold for other intervals than Wilson's too.
    """
    (low_a, high_a), (low_b, high_b) = ends_a, ends_b
    return a - b, a - b - math.hypot(a - low_a, high_b - b), a - b + math.hypot(high_a - a, b - low_b)
