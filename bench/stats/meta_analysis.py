"""Random-effects meta-analysis of the differences of a few studies; plain arrays.

DerSimonian & Laird, Controlled Clinical Trials 7, 1986, for the variance between studies. The interval of the mean is
Hartung & Knapp's (Statistics in Medicine 20, 2001), which has correct coverage for few studies, unlike the normal one
(IntHout, Ioannidis & Borm, BMC Med Res Methodol 14:25, 2014). It is never narrower than with the studies' own errors
(Knapp & Hartung, Statistics in Medicine 22, 2003). The prediction interval is that of Higgins, Thompson & Spiegelhalter
(J R Stat Soc A 172, 2009) with the same error. The sums are statsmodels'.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bench.errors import ConfigError

NAN = float("nan")
FEWEST = 3  # number of studies: with two, the variance between them cannot be estimated


@dataclass(frozen=True)
class Overall:
    """The mean effect of a population of studies, of which ``studies`` were observed.

    ``low`` and ``high`` are its 95 % interval, ``p`` tests it against zero and ``p_equivalent`` (two one-sided tests)
    against the margin. ``next_low`` and ``next_high`` are the 95 % prediction interval of the effect in a new study.
    ``tau`` is the standard deviation of true effects between studies, ``i2`` their share in [0, 1] of the observed
    variance, ``p_alike`` Cochran's test of homogeneity. NaN if undefined: all of them, with too few studies.
    """

    studies: int
    mean: float = NAN
    low: float = NAN
    high: float = NAN
    p: float = NAN
    p_equivalent: float = NAN
    next_low: float = NAN
    next_high: float = NAN
    tau: float = NAN
    i2: float = NAN
    q: float = NAN
    p_alike: float = NAN


def random_effects(
    effects: npt.ArrayLike, errors: npt.ArrayLike, margin: float | None = None, alpha: float = 0.05
) -> Overall:
    """Combine k effects with their standard errors, both [k] and in one unit; k below ``FEWEST`` gives NaN.

    Raises ``ConfigError`` for shapes that differ, or an error that is not above 0.
    """
    y, se = np.asarray(effects, dtype=np.float64), np.asarray(errors, dtype=np.float64)
    if y.shape != se.shape or y.ndim != 1 or not np.isfinite(y).all() or not (se > 0).all():
        raise ConfigError(f"got effects {y.tolist()} with errors {se.tolist()}; each needs an error above 0")
    k = len(y)
    if k < FEWEST:
        return Overall(k)
    from scipy.special import stdtr, stdtrit
    from statsmodels.stats.meta_analysis import combine_effects

    with np.errstate(invalid="ignore", divide="ignore"):  # at a negative variance: see the next line
        found = combine_effects(y, se**2, method_re="dl")
    spread = found.tau2 > 0  # statsmodels goes below 0, where DerSimonian and Laird set 0: then effects are fixed
    mean = float(found.mean_effect_re if spread else found.mean_effect_fe)
    error = float(found.sd_eff_w_re if spread else found.sd_eff_w_fe)
    scale = float(found.scale_hksj_re if spread else found.scale_hksj_fe)
    error *= math.sqrt(max(1.0, scale))
    tau = math.sqrt(max(0.0, float(found.tau2)))
    half = float(stdtrit(k - 1, 1 - alpha / 2)) * error
    reach = float(stdtrit(k - 2, 1 - alpha / 2)) * math.hypot(tau, error)
    beyond = [stdtr(k - 1, -(margin + sign * mean) / error) for sign in (1, -1)] if margin else [NAN]
    return Overall(
        studies=k,
        mean=mean,
        low=mean - half,
        high=mean + half,
        p=float(2 * stdtr(k - 1, -abs(mean) / error)),
        p_equivalent=float(max(beyond)),
        next_low=mean - reach,
        next_high=mean + reach,
        tau=tau,
        i2=max(0.0, float(1 - (k - 1) / found.q)) if found.q > 0 else 0.0,
        q=float(found.q),
        p_alike=float(found.test_homogeneity().pvalue),
    )
