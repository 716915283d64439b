"""Comparison of two runs with unrelated folds: Welch's test from means, standard deviations and numbers.

Folds of one run share training images, so the variance of a mean is s^2 (1/J + ratio) instead of s^2 / J (Nadeau &
Bengio 2003; see ``bench.stats.inference``), for each side separately. Welch (1947), Biometrika 34; degrees of freedom
by Satterthwaite (1946), Biometrics Bulletin 2.
"""

from __future__ import annotations

import math
from typing import NamedTuple

NAN = float("nan")


class Sample(NamedTuple):
    """J values by their mean and sd (ddof 1); ``ratio`` is added to 1/J because of overlap, 0 for none."""

    mean: float
    sd: float
    n: int
    ratio: float = 0.0


class Unpaired(NamedTuple):
    """The difference of two means, b - a, its interval (95 % at alpha 0.05) and the two-sided p that it is 0."""

    difference: float
    low: float
    high: float
    p: float


def welch(a: Sample, b: Sample, alpha: float = 0.05) -> Unpaired:
    """Return b - a with Welch's interval; at ratios of 0 the p is that of scipy's ``ttest_ind(equal_var=False)``.

    Interval and p are NaN if a side has fewer than two values, or neither has any variance.
    """
    from scipy.special import stdtr, stdtrit

    difference = b.mean - a.mean
    if min(a.n, b.n) < 2 or not (a.sd > 0 or b.sd > 0):
        return Unpaired(difference, NAN, NAN, NAN)
    parts = [s.sd**2 * (1 / s.n + s.ratio) for s in (a, b)]
    error = math.sqrt(sum(parts))
    dof = sum(parts) ** 2 / sum(v**2 / (s.n - 1) for v, s in zip(parts, (a, b), strict=True))
    half = float(stdtrit(dof, 1 - alpha / 2)) * error
    return Unpaired(difference, difference - half, difference + half, float(2 * stdtr(dof, -abs(difference) / error)))
