"""The difference of two proportions, with its interval."""

from __future__ import annotations

import math

from bench.stats.inference import wilson


def newcombe(hits_a: int, n_a: int, hits_b: int, n_b: int, alpha: float = 0.05) -> tuple[float, float, float]:
    """Return a/n_a − b/n_b and its interval; all NaN if a denominator is 0.

    Newcombe 1998, "Interval estimation for the difference between independent proportions", method 10: the two Wilson
    intervals combined.
    """
    if not (n_a and n_b):
        return math.nan, math.nan, math.nan
    a, b = hits_a / n_a, hits_b / n_b
    (low_a, high_a), (low_b, high_b) = wilson(hits_a, n_a, alpha), wilson(hits_b, n_b, alpha)
    difference = a - b
    low, high = math.hypot(a - low_a, high_b - b), math.hypot(high_a - a, b - low_b)
    return difference, difference - low, difference + high
