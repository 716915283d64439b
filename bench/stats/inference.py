"""Inference from folds: paired tests for overlapping training sets, equivalence, effect sizes, verdicts; plain arrays.

A *pair* is one fold × repeat: the same split scored with and without an augmentation; J pairs give J differences of a
metric. Pairs share patients, so the differences are not independent and a plain t test has too many false positives;
the correction of Nadeau & Bengio (2003) increases its variance from s^2 / J to s^2 (1/J + n_test/n_train). For k folds
that ratio is 1/(k-1) for any number of repeats. Intervals over patients are in ``bootstrap``, the power of a design is
in ``planning``. Undefined results (one pair, no variance) are NaN and 'undecided'.

The ratio represents a mean correlation rho between pairs, ratio = rho / (1 - rho): Var(mean) = E[s^2] (1/J + rho / (1 -
rho)) holds for any J values of equal variance (Corani et al. 2017, section 3), and n_test / n_train assumes that the
correlation of two pairs is their share of common test patients. Power and the minimum detectable effect use another rho
if one was measured.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from bench.errors import ConfigError
from bench.stats.planning import LASTING_SHARE, minimum_detectable_effect, pair_ratio

NAN = float("nan")
EXACT_UP_TO = 50  # nonzero differences
Word = Literal["helps", "hurts", "equivalent", "undecided"]


class TTest(NamedTuple):
    """A two-sided test of zero mean difference: statistic, p, and the interval (95 % at alpha 0.05) of the mean."""

    t: float
    p: float
    low: float
    high: float


@dataclass(frozen=True)
class Verdict:
    """Result of J paired differences of a metric (higher is better) between one arm and its reference.

    ``difference`` is their mean, ``low`` and ``high`` its corrected 95 % interval, ``p`` and ``p_holm`` the two-sided
    corrected t test before and after Holm, ``p_equivalent`` the TOST at the margin, ``smallest_effect`` the minimum
    detectable effect (80 % power) of a design with this variance and number of pairs. ``p_nadeau_bengio`` is ``p`` with
    the full n_test / n_train, ``effect_size`` Hedges' g_z and ``p_wilcoxon`` the uncorrected signed-rank test: these
    are descriptive, the verdict does not use them. NaN if undefined.
    """

    word: Word
    difference: float
    low: float
    high: float
    p: float
    p_holm: float
    p_equivalent: float
    minimum_detectable_effect: float
    margin: float
    pairs: int
    effect_size: float = NAN
    p_wilcoxon: float = NAN
    p_nadeau_bengio: float = NAN


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
    from scipy.special import stdtr, stdtrit  # scipy.stats gives the same result a hundred times slower

    mean, error, dof = _standard_error(differences, test_train_ratio)
    if not error > 0:
        return TTest(NAN, NAN, NAN, NAN)
    t = mean / error
    half = float(stdtrit(dof, 1 - alpha / 2)) * error
    return TTest(t, float(2 * stdtr(dof, -abs(t))), mean - half, mean + half)


def tost(differences: npt.ArrayLike, margin: float, test_train_ratio: float) -> float:
    """Return p of two one-sided tests (Schuirmann 1987) that the mean lies within (-margin, margin).

    The larger p of the two corrected t tests; below alpha, the 1 - 2 alpha interval lies within the margin. NaN if
    ``corrected_resampled_t`` is NaN. Raises ``ConfigError`` when the margin is not above 0.
    """
    from scipy.special import stdtr

    if not margin > 0:
        raise ConfigError(f"an equivalence margin must be above 0, got {margin}")
    mean, error, dof = _standard_error(differences, test_train_ratio)
    if not error > 0:
        return NAN
    above, below = stdtr(dof, -(mean + margin) / error), stdtr(dof, (mean - margin) / error)
    return float(max(above, below))


def wilcoxon(differences: npt.ArrayLike) -> float:
    """Return p of Wilcoxon's (1945) two-sided signed-rank test that J differences are symmetric about 0.

    Zeros are dropped and equal absolute values share a rank. Exact, including ties, up to 50 differences (all sign
    changes have equal probability), normal approximation beyond. For J nonzero differences the smallest p is 2 / 2^J:
    0.0625 for five folds. It assumes independent pairs, which repeats are not. NaN for no difference, a NaN among them,
    or only zeros.
    """
    x = _without_zeros(differences)
    if len(x) > EXACT_UP_TO:
        from scipy.stats import wilcoxon as signed_rank

        return float(signed_rank(x, method="asymptotic").pvalue)
    if not len(x):
        return NAN
    ranks = np.rint(2 * _ranks(x)).astype(np.int64)  # doubled, so that shared ranks are whole numbers
    chance = np.zeros(ranks.sum() + 1)  # number of sign patterns for each sum of the ranks with a plus
    chance[0] = 1
    for rank in ranks:
        chance[rank:] += chance[:-rank].copy()
        chance /= 2
    plus = int(ranks[x > 0].sum())
    return min(1.0, 2 * float(min(chance[: plus + 1].sum(), chance[plus:].sum())))


def rank_biserial(differences: npt.ArrayLike) -> float:
    """Return the matched-pairs rank-biserial correlation (Kerby 2014), in [-1, 1]: the effect size for Wilcoxon's test.

    (W+ - W-) / (W+ + W-), the rank sums of positive and of negative differences; zeros are dropped. NaN as
    ``wilcoxon``.
    """
    x = _without_zeros(differences)
    return float(np.sign(x) @ _ranks(x) / (len(x) * (len(x) + 1) / 2)) if len(x) else NAN


def cohens_dz(differences: npt.ArrayLike) -> float:
    """Return mean / sd of paired differences (Cohen 1988, section 2.3.5; Lakens 2013, eq. 6); NaN without variance."""
    mean, error, dof = _standard_error(differences, 0.0)
    return mean / (error * math.sqrt(dof + 1)) if error > 0 else NAN


def hedges_gz(differences: npt.ArrayLike) -> float:
    """Return d_z without its small-sample bias, times G(m/2) / (sqrt(m/2) G((m-1)/2)), m = J - 1 (Hedges 1981, eq. 6e).

    About 1 - 3 / (4 m - 1): 0.80 for five pairs. NaN without variance; also for two pairs, where no unbiased one
    exists.
    """
    m = len(np.asarray(differences)) - 1
    if m < 2:
        return NAN
    factor = math.exp(math.lgamma(m / 2) - math.lgamma((m - 1) / 2)) / math.sqrt(m / 2)
    return factor * cohens_dz(differences)


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


def verdict(differences: npt.ArrayLike, margin: float, test_train_ratio: float, alpha: float = 0.05) -> Verdict:
    """Return the verdict on a single comparison; see ``verdicts``."""
    return verdicts({"": differences}, margin, test_train_ratio, alpha)[""]


def verdicts(
    differences: Mapping[str, npt.ArrayLike],
    margin: float,
    test_train_ratio: float,
    alpha: float = 0.05,
    lasting_share: float = LASTING_SHARE,
) -> dict[str, Verdict]:
    """Return the verdict on each arm: name -> J paired differences (arm minus reference; higher is better).

    *equivalent*: TOST shows the mean within the margin (even if it differs significantly from 0, because it is then too
    small to matter). Else *helps* or *hurts* by the sign, when the corrected t test rejects 0. Else *undecided*. Both
    tests are corrected by Holm over the given arms, each as a family, so pass all arms of one claim in one call.

    The tests use ``pair_ratio(test_train_ratio)``: Nadeau & Bengio's correction with the measured correlation of pairs,
    half of their n_test / (n_test + n_train). With the full correction the test has too little power to be useful, as
    `bench selftest` shows; with half of it its false positive rate is still below 5 %. For differences whose
    correlation has not been measured, use ``lasting_share`` 1, the full correction.
    """
    names = list(differences)
    ratio = pair_ratio(test_train_ratio, lasting_share)
    tests = [corrected_resampled_t(differences[n], ratio, alpha) for n in names]
    p_holm = holm([t.p for t in tests])
    p_equivalent = holm([tost(differences[n], margin, ratio) for n in names])
    result = {}
    for i, name in enumerate(names):
        mean, sd = mean_sd(differences[name])
        pairs = len(np.asarray(differences[name]))
        result[name] = Verdict(
            word=_word(mean, p_holm[i], p_equivalent[i], alpha),
            difference=mean,
            low=tests[i].low,
            high=tests[i].high,
            p=tests[i].p,
            p_holm=float(p_holm[i]),
            p_equivalent=float(p_equivalent[i]),
            minimum_detectable_effect=NAN
            if math.isnan(tests[i].low)  # no variance, or only rounding: no conclusion about other draws
            else minimum_detectable_effect(sd, pairs, ratio, alpha=alpha),
            margin=margin,
            pairs=pairs,
            effect_size=hedges_gz(differences[name]),
            p_wilcoxon=wilcoxon(differences[name]),
            p_nadeau_bengio=corrected_resampled_t(differences[name], test_train_ratio, alpha).p,
        )
    return result


def _word(mean: float, p_holm: float, p_equivalent: float, alpha: float) -> Word:
    if p_equivalent < alpha:
        return "equivalent"
    if p_holm < alpha:
        return "helps" if mean > 0 else "hurts"
    return "undecided"


def _standard_error(differences: npt.ArrayLike, test_train_ratio: float) -> tuple[float, float, int]:
    """Return mean, corrected standard error (NaN if undefined or without variance) and degrees of freedom."""
    if not test_train_ratio >= 0:
        raise ConfigError(f"n_test / n_train cannot be below 0, got {test_train_ratio}")
    x = np.asarray(differences, dtype=np.float64)
    mean, sd = mean_sd(x)
    spread = sd > 1e-12 * max(1.0, float(np.abs(x).max())) if len(x) > 1 else False  # rounding errors are not variance
    return mean, sd * math.sqrt(1 / len(x) + test_train_ratio) if spread else NAN, len(x) - 1


def _without_zeros(differences: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return the nonzero differences over the largest, to 12 digits: 0.3 - 0.2 and 0.2 - 0.1 are equal."""
    x = np.asarray(differences, dtype=np.float64)
    if np.isnan(x).any() or not x.any():
        return np.empty(0)
    x = np.round(x / np.abs(x).max(), 12)
    return x[x != 0]


def _ranks(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the ranks of absolute values from 1; equal ones get their mean rank."""
    _, place, count = np.unique(np.abs(x), return_inverse=True, return_counts=True)
    return (np.cumsum(count) - (count - 1) / 2)[place]
