"""Meta-analysis of the differences of a few studies (data sets); plain arrays.

``combine`` chooses: an error that rests on few degrees of freedom makes weights by errors unreliable (DerSimonian &
Laird with Hartung & Knapp claims up to 12 % instead of 5 %), so there every study counts alike (``equal_weights``), and
elsewhere ``random_effects`` is used.

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
RANDOM, EQUAL = "random effects (DerSimonian-Laird, Hartung-Knapp)", "equal weights (t over data sets)"
FEW_DOF = 30  # of a study's error: below this, errors are no weights


@dataclass(frozen=True)
class Overall:
    """The mean effect of a population of studies, of which ``studies`` were observed.

    ``low`` and ``high`` are its 95 % interval, ``p`` tests it against zero and ``p_equivalent`` (two one-sided tests)
    against the margin. ``next_low`` and ``next_high`` are the 95 % prediction interval of the effect in a new study.
    ``tau`` is the standard deviation of true effects between studies, ``i2`` their share in [0, 1] of the observed
    variance, ``p_alike`` a test of homogeneity (of Cochran's ``q``; with equal weights Welch's). ``method`` names the
    mean. NaN if undefined: all of them, with too few studies.
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
    method: str = ""


def combine(
    effects: npt.ArrayLike,
    errors: npt.ArrayLike,
    dofs: npt.ArrayLike,
    margin: float | None = None,
    alpha: float = 0.05,
) -> Overall:
    """Combine k effects with their standard errors and the degrees of freedom of these, all [k].

    ``equal_weights`` where a study has fewer than ``FEW_DOF`` degrees of freedom, or no error (no change at all), else
    ``random_effects``. k below ``FEWEST`` gives NaN.
    """
    se, dof = np.asarray(errors, dtype=np.float64), np.asarray(dofs, dtype=np.float64)
    if (se > 0).all() and (dof >= FEW_DOF).all():
        return random_effects(effects, errors, margin, alpha)
    return equal_weights(effects, errors, dofs, margin, alpha)


def equal_weights(
    effects: npt.ArrayLike,
    errors: npt.ArrayLike,
    dofs: npt.ArrayLike,
    margin: float | None = None,
    alpha: float = 0.05,
) -> Overall:
    """Combine k effects by their plain mean and a t test with k - 1 degrees of freedom; arguments as ``combine``.

    It needs no errors to be right. ``tau`` is what the errors leave of the variance between effects (Hedges & Olkin
    1985, section 9.3), ``p_alike`` Welch's (1951, Biometrika 38) test, which allows for few degrees of freedom; NaN if
    a study has no error. A study without any change counts, with effect 0. Raises ``ConfigError`` for shapes that
    differ or an effect that is not finite.
    """
    y, se = np.asarray(effects, dtype=np.float64), np.asarray(errors, dtype=np.float64)
    dof = np.asarray(dofs, dtype=np.float64)
    if y.ndim != 1 or y.shape != se.shape or y.shape != dof.shape or not np.isfinite(y).all():
        raise ConfigError(f"got effects {y.tolist()} with errors {se.tolist()} and degrees of freedom {dof.tolist()}")
    k = len(y)
    if k < FEWEST:
        return Overall(k, method=EQUAL)
    within = float(np.mean(np.nan_to_num(se) ** 2))
    between = float(y.var(ddof=1))
    tau2 = max(0.0, between - within)
    i2 = tau2 / between if between > 0 else 0.0
    q, p_alike = _welch(y, se, dof)
    mean, error = float(y.mean()), math.sqrt(between / k)
    return _overall(y, mean, error, math.sqrt(tau2), i2, q, p_alike, margin, alpha, EQUAL)


def _welch(
    y: npt.NDArray[np.float64], se: npt.NDArray[np.float64], dof: npt.NDArray[np.float64]
) -> tuple[float, float]:
    """Return Welch's statistic times k - 1 (Cochran's q, shrunk) and p that all true effects are equal."""
    from scipy.special import fdtrc

    if not ((se > 0).all() and (dof > 0).all()):
        return NAN, NAN
    k, w = len(y), 1 / se**2
    uncertain = float((((1 - w / w.sum()) ** 2) / dof).sum())
    q = float((w * (y - (w * y).sum() / w.sum()) ** 2).sum()) / (1 + 2 * (k - 2) / (k**2 - 1) * uncertain)
    return q, float(fdtrc(k - 1, (k**2 - 1) / (3 * uncertain), q / (k - 1)))


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
    from statsmodels.stats.meta_analysis import combine_effects

    with np.errstate(invalid="ignore", divide="ignore"):  # at a negative variance: see the next line
        found = combine_effects(y, se**2, method_re="dl")
    spread = found.tau2 > 0  # statsmodels goes below 0, where DerSimonian and Laird set 0: then effects are fixed
    mean = float(found.mean_effect_re if spread else found.mean_effect_fe)
    error = float(found.sd_eff_w_re if spread else found.sd_eff_w_fe)
    scale = float(found.scale_hksj_re if spread else found.scale_hksj_fe)
    error *= math.sqrt(max(1.0, scale))
    tau = math.sqrt(max(0.0, float(found.tau2)))
    i2 = max(0.0, float(1 - (k - 1) / found.q)) if found.q > 0 else 0.0
    p_alike = float(found.test_homogeneity().pvalue)
    return _overall(y, mean, error, tau, i2, float(found.q), p_alike, margin, alpha, RANDOM)


def _overall(
    y: npt.NDArray[np.float64],
    mean: float,
    error: float,
    tau: float,
    i2: float,
    q: float,
    p_alike: float,
    margin: float | None,
    alpha: float,
    method: str,
) -> Overall:
    """Return the record of a mean with its standard error and k - 1 degrees of freedom; NaN without any variance."""
    from scipy.special import stdtr, stdtrit

    k = len(y)
    if not error > 0:
        return Overall(k, mean, tau=tau, i2=i2, method=method)
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
        i2=i2,
        q=q,
        p_alike=p_alike,
        method=method,
    )
