"""From folds to claims: paired tests for overlapping training sets, equivalence, planning, verdicts; on plain arrays.

A *pair* is one (fold, repeat): the same split scored with and without an augmentation; J differences of a metric. Folds
share training images, so the differences are not independent and a plain t test claims too much; the correction of
Nadeau & Bengio (2003) widens its variance from s^2 / J to s^2 (1/J + n_test/n_train). For k folds that ratio is
1/(k-1) whatever the number of repeats. Nothing here knows a file; intervals over patients are in ``bootstrap``.
What cannot be told (one pair, no spread) is NaN and 'undecided'.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from bench.errors import ConfigError

NAN = float("nan")
Word = Literal["helps", "hurts", "equivalent", "undecided"]


class TTest(NamedTuple):
    """A two-sided test of zero mean difference: statistic, p, and the interval (95 % at alpha 0.05) of the mean."""

    t: float
    p: float
    low: float
    high: float


@dataclass(frozen=True)
class Verdict:
    """What J paired differences of a metric (higher is better) say of one arm against its reference.

    ``difference`` is their mean, ``low`` and ``high`` its corrected 95 % interval, ``p`` and ``p_holm`` the two-sided
    corrected t test before and after Holm, ``p_equivalent`` the TOST at the margin, ``smallest_effect`` what a design
    of this spread and number of pairs would have shown with 80 % power. NaN where it cannot be told.
    """

    word: Word
    difference: float
    low: float
    high: float
    p: float
    p_holm: float
    p_equivalent: float
    smallest_effect: float
    margin: float
    pairs: int


def mean_sd(values: npt.ArrayLike) -> tuple[float, float]:
    """Return mean and standard deviation (ddof 1); the sd of one value is NaN, as are both of none."""
    x = np.asarray(values, dtype=np.float64)
    mean = float(x.mean()) if len(x) else NAN
    return mean, float(x.std(ddof=1)) if len(x) > 1 else NAN


def corrected_resampled_t(differences: npt.ArrayLike, test_train_ratio: float, alpha: float = 0.05) -> TTest:
    """Return the corrected resampled t test (Nadeau & Bengio 2003, eq. 9) of J differences against zero.

    t = mean / sqrt((1/J + n_test/n_train) s^2) with J - 1 degrees of freedom; ``test_train_ratio`` is n_test/n_train
    (0.25 for 5 folds, 3/7 for 70/30; 0 gives the plain paired t test). NaN with fewer than 2 differences, with a NaN
    among them, or when they are all the same (no spread is no proof of certainty).
    """
    from scipy.stats import t as student

    mean, error, dof = _standard_error(differences, test_train_ratio)
    if not error > 0:
        return TTest(NAN, NAN, NAN, NAN)
    t = mean / error
    half = float(student.ppf(1 - alpha / 2, dof)) * error
    return TTest(t, float(2 * student.sf(abs(t), dof)), mean - half, mean + half)


def tost(differences: npt.ArrayLike, margin: float, test_train_ratio: float) -> float:
    """Return p of two one-sided tests (Schuirmann 1987) that the mean lies within (-margin, margin).

    The larger p of the two corrected t tests; below alpha, the 1 - 2 alpha interval lies within the margin. NaN where
    ``corrected_resampled_t`` is NaN. Raises ``ConfigError`` when the margin is not above 0.
    """
    from scipy.stats import t as student

    if not margin > 0:
        raise ConfigError(f"an equivalence margin must be above 0, got {margin}")
    mean, error, dof = _standard_error(differences, test_train_ratio)
    if not error > 0:
        return NAN
    above, below = student.sf((mean + margin) / error, dof), student.cdf((mean - margin) / error, dof)
    return float(max(above, below))


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
    """Return Wilson's (1927) score interval of a share, within [0, 1]; NaN for no trials."""
    if trials == 0:
        return NAN, NAN
    from scipy.stats import binomtest

    interval = binomtest(successes, trials).proportion_ci(1 - alpha, method="wilson")
    return float(interval.low), float(interval.high)


def power(effect: float, sd: float, pairs: int, test_train_ratio: float, alpha: float = 0.05) -> float:
    """Return the chance that the corrected t test of ``pairs`` differences of that sd finds a mean of ``effect``.

    t^2 is noncentral F with 1 and J - 1 degrees of freedom, lambda = effect^2 / (sd^2 (1/J + n_test/n_train)). (scipy's
    noncentral t, the usual way, is NaN for ordinary values.) NaN for fewer than 2 pairs or an sd that is not above 0.
    """
    from scipy.special import ncfdtr
    from scipy.stats import t as student

    if pairs < 2 or not sd > 0:
        return NAN
    critical = float(student.ppf(1 - alpha / 2, pairs - 1))
    shift = (effect / sd) ** 2 / (1 / pairs + test_train_ratio)
    missed = float(ncfdtr(1, pairs - 1, shift, critical**2))
    return 1.0 if math.isnan(missed) else 1 - missed  # NaN where the chance to miss is below its precision


def smallest_detectable_effect(
    sd: float, pairs: int, test_train_ratio: float, target: float = 0.8, alpha: float = 0.05
) -> float:
    """Return the mean difference (> 0, the unit of ``sd``) that this design finds with power ``target``; NaN as above.

    With a ratio above 0 it does not fall to 0 as repeats are added: overlapping training sets set a floor.
    """
    from scipy.optimize import brentq

    if pairs < 2 or not sd > 0:
        return NAN
    top = 1.0
    while power(top, 1.0, pairs, test_train_ratio, alpha) < target:
        top *= 2
    return sd * float(brentq(lambda d: power(d, 1.0, pairs, test_train_ratio, alpha) - target, 0, top, xtol=1e-10))


def pairs_needed(
    effect: float, sd: float, test_train_ratio: float, target: float = 0.8, alpha: float = 0.05, limit: int = 10_000
) -> int | None:
    """Return the fewest pairs that find ``effect`` with power ``target``; None when ``limit`` pairs do not.

    The ratio counts as fixed, as it is when the same k folds are repeated; None then says: more repeats cannot do it.
    """
    low, high = 1, limit  # power at ``low`` is too little, at ``high`` enough
    if not power(effect, sd, high, test_train_ratio, alpha) >= target:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        if power(effect, sd, middle, test_train_ratio, alpha) >= target:
            high = middle
        else:
            low = middle
    return high


def verdict(differences: npt.ArrayLike, margin: float, test_train_ratio: float, alpha: float = 0.05) -> Verdict:
    """Return the verdict on a single comparison; see ``verdicts``."""
    return verdicts({"": differences}, margin, test_train_ratio, alpha)[""]


def verdicts(
    differences: Mapping[str, npt.ArrayLike], margin: float, test_train_ratio: float, alpha: float = 0.05
) -> dict[str, Verdict]:
    """Return the verdict on each arm: name -> J paired differences (arm minus reference; higher is better).

    *equivalent*: TOST shows the mean within the margin (even if it differs from 0 for certain: it is then too small to
    matter). Else *helps* or *hurts* by the sign, when the corrected t test rejects 0. Else *undecided*. Both tests are
    corrected by Holm over the arms given, each as a family, so give all the arms of one claim in one call.
    """
    names = list(differences)
    tests = [corrected_resampled_t(differences[n], test_train_ratio, alpha) for n in names]
    p_holm = holm([t.p for t in tests])
    p_equivalent = holm([tost(differences[n], margin, test_train_ratio) for n in names])
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
            smallest_effect=NAN
            if math.isnan(tests[i].low)  # no spread, or only rounding: nothing can be said of other draws
            else smallest_detectable_effect(sd, pairs, test_train_ratio, alpha=alpha),
            margin=margin,
            pairs=pairs,
        )
    return result


def _word(mean: float, p_holm: float, p_equivalent: float, alpha: float) -> Word:
    if p_equivalent < alpha:
        return "equivalent"
    if p_holm < alpha:
        return "helps" if mean > 0 else "hurts"
    return "undecided"


def _standard_error(differences: npt.ArrayLike, test_train_ratio: float) -> tuple[float, float, int]:
    """Return mean, corrected standard error (NaN when it cannot be told, 0 spread included) and degrees of freedom."""
    if not test_train_ratio >= 0:
        raise ConfigError(f"n_test / n_train cannot be below 0, got {test_train_ratio}")
    x = np.asarray(differences, dtype=np.float64)
    mean, sd = mean_sd(x)
    spread = sd > 1e-12 * max(1.0, float(np.abs(x).max())) if len(x) > 1 else False  # rounding is not spread
    return mean, sd * math.sqrt(1 / len(x) + test_train_ratio) if spread else NAN, len(x) - 1
