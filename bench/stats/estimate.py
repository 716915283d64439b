"""The one record that every test of a paired difference returns."""

from __future__ import annotations

import math
from dataclasses import dataclass

NAN = float("nan")


@dataclass(frozen=True)
class Estimate:
    """A mean paired difference (> 0: the arm is better) with its standard error and two-sided test of 0.

    ``test`` names the test, ``low`` and ``high`` are the 1 - alpha interval, ``dof`` the degrees of freedom of its t
    distribution. ``sets`` counts the trainings of one arm (training sets, or folds x repeats), ``groups`` the test
    groups (0 if only means per pair were given). ``note`` says what the test does not cover, '' if nothing. NaN if
    undefined: without variance, or with too few sets or groups.
    """

    test: str
    difference: float
    low: float
    high: float
    p: float
    standard_error: float
    dof: float
    sets: int
    groups: int
    note: str = ""


def t_estimate(
    test: str,
    difference: float,
    standard_error: float,
    dof: float,
    sets: int,
    groups: int,
    alpha: float = 0.05,
    note: str = "",
) -> Estimate:
    """Return the estimate of a t test; all but the difference NaN unless standard error and ``dof`` are above 0.

    A standard error that is only rounding, below 1e-12 of the difference (or of 1), counts as none: no variance is no
    proof of certainty.
    """
    from scipy.special import stdtr, stdtrit  # scipy.stats gives the same result a hundred times slower

    if not (dof > 0 and standard_error > 1e-12 * max(1.0, abs(difference)) and math.isfinite(difference)):
        return Estimate(test, difference, NAN, NAN, NAN, NAN, NAN, sets, groups, note)
    p = float(2 * stdtr(dof, -abs(difference / standard_error)))
    half = float(stdtrit(dof, 1 - alpha / 2)) * standard_error
    return Estimate(
        test, difference, difference - half, difference + half, p, standard_error, float(dof), sets, groups, note
    )
