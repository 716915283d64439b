"""The corrected resampled t test for overlapping training sets, Holm's correction, Wilson's interval; plain arrays.

A *pair* is one fold × repeat: the same split scored with and without an augmentation; J pairs give J differences of a
metric. Pairs share patients, so the differences are not independent and a plain t test has too many false positives;
the correction of Nadeau & Bengio (2003) increases its variance from s^2 / J to s^2 (1/J + n_test/n_train). The tests of
verdicts are in ``crossed`` and ``folds_test``, the words in ``decide``. Undefined results (one pair, no variance) are
NaN.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from bench.errors import ConfigError
from bench.stats.estimate import t_estimate

NAN = float("nan")


class TTest(NamedTuple):
    """A two-sided test of zero mean difference: statistic, p, and the interval (95 % at alpha 0.05) of the mean."""

    t: float
    p: float
    low: float
    high: float


def mean_sd(values: npt.ArrayLike) -> tuple[float, float]:
    """Return mean and standard deviation (ddof 1); the sd of one value is NaN, and both are for no value."""
    x = np.asarray(values, dtype=np.float64)
    mean = float(x.mean()) if len(x) else NAN
    return mean, float(x.std(ddof=1)) if len(x) > 1 else NAN


def corrected_resampled_t(differences: npt.ArrayLike, test_train_ratio: float, alpha: float = 0.05) -> TTest:
    """Return the corrected resampled t test (Nadeau & Bengio 2003, eq. 9) of J differences against zero.

    t = mean / sqrt((1/J + n_test/n_train) s^2) with J - 1 degrees of freedom; ``test_train_ratio`` is n_test/n_train
    (0.25 for 5 folds, 3/7 for 70/30; 0 gives the plain paired t test). NaN with fewer than 2 differences, with a NaN
    among them, or when all are equal (no variance is not a proof of certainty).
    """
    mean, error, dof = resampled_error(differences, test_train_ratio)
    found = t_estimate("", mean, error, dof, dof + 1, 0, alpha)
    return TTest(mean / found.standard_error, found.p, found.low, found.high)


def holm(p_values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return p values adjusted by Holm (1979) for a family of tests; NaN stays NaN and is not counted.

    The i-th smallest of m (from 0) becomes max over j <= i of min(1, (m - j) p_j).
    """
    p = np.asarray(p_values, dtype=np.float64)
    result = np.full(p.shape, np.nan)
    order = [int(i) for i in np.argsort(p, kind="stable") if not np.isnan(p[i])]
    factors = np.arange(len(order), 0, -1)
    result[order] = np.maximum.accumulate(np.minimum(1, p[order] * factors)) if order else []
    return result


def wilson(successes: int, trials: int, alpha: float = 0.05) -> tuple[float, float]:
    """Return Wilson's (1927) score interval of a proportion, within [0, 1]; NaN for no trials."""
    if trials == 0:
        return NAN, NAN
    from scipy.stats import binomtest

    interval = binomtest(successes, trials).proportion_ci(1 - alpha, method="wilson")
    return float(interval.low), float(interval.high)


def resampled_error(differences: npt.ArrayLike, test_train_ratio: float) -> tuple[float, float, int]:
    """Return mean, corrected standard error (NaN if undefined or without variance) and degrees of freedom.

    Raises ``ConfigError`` for a negative ratio.
    """
    if not test_train_ratio >= 0:
        raise ConfigError(f"n_test / n_train cannot be below 0, got {test_train_ratio}")
    x = np.asarray(differences, dtype=np.float64)
    mean, sd = mean_sd(x)
    spread = sd > 1e-12 * max(1.0, float(np.abs(x).max())) if len(x) > 1 else False  # rounding errors are not variance
    return mean, sd * math.sqrt(1 / len(x) + test_train_ratio) if spread else NAN, len(x) - 1
