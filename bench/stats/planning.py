"""Power of a design of folds and repeats: the corrected t test, and the variance of a paired difference.

The difference of a pair (fold × repeat) has three sources of variance, of which only two average out over repeats:

    difference = mean over the fold's test patients of (lasting + passing response of a patient) + run

*lasting*: the effect of an arm on a patient that returns whenever the patient is tested (only more patients help);
*passing*: the effect in this test only; *run*: one training, common to all patients that it tests. Let A, B be the
contributions of lasting and passing responses to the variance of a mean over all patients, G the variance of a run, tau
the share of the patients in each test part, and m the number of disjoint test parts per repeat (1 / tau for k-fold, 1
for hold-out):

    Var(pair) = (A + B) / tau + G        Cov(two repeats) = A        Cov(two folds of one repeat) = 0

so the variance of the mean of J pairs is Var(pair) / J + A (J - m) / J. Nadeau & Bengio (2003) assume that the
correlation of two pairs is their share of common test patients, rho = n_test / (n_test + n_train): this is the model
above with hold-out splits and B = G = 0. Real learners have B > 0, and folds of one repeat share no test patient, so
their rho is an upper bound; ``LASTING_SHARE`` is the measured fraction of it. The correlation of pairs through shared
training patients cannot be estimated without bias from one data set (Bengio & Grandvalet 2004) and is set to 0 here.
``pilot`` estimates A, B and G.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from statistics import NormalDist

from bench.errors import ConfigError

NAN = float("nan")

# A / (A + B): the share of a patient's response to an arm that returns when it is tested again. Measured, 5 folds
# x 4 repeats: 0.1-0.3 with bench's small_cnn on 18 BreakHis and on 82 phantom patients (classical, oversample against
# none); 0.05-0.5 with logistic regression, extra trees and small MLPs on 330 made-up data sets of 82 patients (noise,
# fitted Gaussians and oversampling against none). In those data sets the correlation of pairs can be measured directly:
# -0.02 to 0.03 between folds of one repeat, 0.00 to 0.09 between repeats, where Nadeau & Bengio have 0.20: less than
# half of it. With the full ratio it is positive in about 1 % of comparisons without an effect instead of 5 %, with
# repeats in 0.3 %; with half, in 2 % (`bench selftest`).
LASTING_SHARE = 0.5


def pair_ratio(test_train_ratio: float, lasting_share: float = LASTING_SHARE) -> float:
    """Return rho / (1 - rho) for rho = lasting_share x n_test / (n_test + n_train), for the corrected t test.

    ``lasting_share`` 1 gives n_test / n_train, as Nadeau & Bengio; 0 the plain paired t test. Raises ``ConfigError``
    for a negative ratio.
    """
    if not test_train_ratio >= 0:
        raise ConfigError(f"n_test / n_train cannot be below 0, got {test_train_ratio}")
    rho = lasting_share * test_train_ratio / (1 + test_train_ratio)
    return rho / (1 - rho)


def power(
    effect: float, sd: float, pairs: int, test_train_ratio: float, alpha: float = 0.05, correlation: float | None = None
) -> float:
    """Return the power of the corrected t test of ``pairs`` differences of that sd for a mean of ``effect``.

    ``correlation`` is the true mean correlation rho of two pairs. The test divides by s^2 (1/J + ratio) while the
    variance of the mean is s^2 c, c = 1/J + rho / (1 - rho); so t^2 (1/J + ratio) / c is noncentral F with 1 and J - 1
    degrees of freedom, lambda = effect^2 / (sd^2 c). None assumes that the test is exact, rho / (1 - rho) = ratio,
    which gives the textbook power. (scipy's noncentral t, the usual method, is NaN for ordinary values.) NaN for fewer
    than 2 pairs or an sd that is not above 0. Raises ``ConfigError`` for a correlation that J pairs cannot have.
    """
    from scipy.special import ncfdtr, stdtrit

    if pairs < 2 or not sd > 0:
        return NAN
    assumed = 1 / pairs + test_train_ratio
    true = assumed if correlation is None else _variance_factor(pairs, correlation)
    critical = float(stdtrit(pairs - 1, 1 - alpha / 2)) ** 2 * assumed / true
    missed = float(ncfdtr(1, pairs - 1, (effect / sd) ** 2 / true, critical))
    return 1.0 if math.isnan(missed) else 1 - missed  # NaN if the probability of a miss is below its precision


def _variance_factor(pairs: int, correlation: float) -> float:
    """Return c in Var(mean) = c E[s^2] for J values of mean correlation rho."""
    if not -1 / (pairs - 1) < correlation < 1:
        raise ConfigError(f"{pairs} pairs cannot have a mean correlation of {correlation}; expected -1/(J-1) to 1")
    return 1 / pairs + correlation / (1 - correlation)


def minimum_detectable_effect(
    sd: float,
    pairs: int,
    test_train_ratio: float,
    target: float = 0.8,
    alpha: float = 0.05,
    correlation: float | None = None,
) -> float:
    """Return the minimum detectable mean difference (> 0, unit of ``sd``) with power ``target``; NaN as above.

    With a ratio above 0 it does not fall to 0 as repeats are added, because training sets overlap.
    """
    if pairs < 2 or not sd > 0:
        return NAN
    return sd * _standardised_effect(pairs, test_train_ratio, target, alpha, correlation)


@lru_cache(maxsize=4096)
def minimum_detectable_t(dof: float, level: float, target: float = 0.8) -> float:
    """Return the true difference, in standard errors, that a two-sided t test at ``level`` finds with power ``target``.

    t^2 is noncentral F with 1 and ``dof`` degrees of freedom (scipy's noncentral t is NaN for ordinary values).
    """
    from scipy.optimize import brentq

    return float(brentq(lambda effect: t_power(effect, dof, level) - target, 0, 1e6, xtol=1e-9))


def t_power(effect: float, dof: float, level: float = 0.05) -> float:
    """Return the power of a two-sided t test for a true difference of ``effect`` standard errors."""
    from scipy.special import ncfdtr, stdtrit

    missed = float(ncfdtr(1, dof, effect**2, float(stdtrit(dof, 1 - level / 2)) ** 2))
    return 1.0 if math.isnan(missed) else 1 - missed  # NaN if the probability of a miss is below its precision


@lru_cache(maxsize=4096)
def _standardised_effect(
    pairs: int, test_train_ratio: float, target: float, alpha: float, correlation: float | None
) -> float:
    from scipy.optimize import brentq

    def lacking(effect: float) -> float:
        return power(effect, 1.0, pairs, test_train_ratio, alpha, correlation) - target

    top = 1.0
    while lacking(top) < 0:
        top *= 2
    return float(brentq(lacking, 0, top, xtol=1e-10)) if lacking(0) < 0 else 0.0


def pairs_needed(
    effect: float, sd: float, test_train_ratio: float, target: float = 0.8, alpha: float = 0.05, limit: int = 10_000
) -> int | None:
    """Return the smallest number of pairs that finds ``effect`` with power ``target``; None if ``limit`` pairs do not.

    The ratio is fixed, as when the same k folds are repeated; None then means that more repeats are not enough.
    ``planning`` computes the same for folds and repeats whose correlation was measured.
    """
    return fewest(lambda n: power(effect, sd, n, test_train_ratio, alpha) >= target, 1, limit)


def fewest(enough: Callable[[int], bool], low: int, high: int) -> int | None:
    """Return the smallest n in (low, high] that is ``enough``, of which every larger n is too; None if none is."""
    if not enough(high):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


@dataclass(frozen=True)
class Design:
    """J = ``folds`` x ``repeats`` pairs, each with ``test_share`` of the patients in its test part.

    For hold-out ``folds`` is 1. ``test_train_ratio`` is n_test / n_train.
    """

    folds: int
    repeats: int
    test_share: float
    test_train_ratio: float

    @property
    def pairs(self) -> int:
        """J."""
        return self.folds * self.repeats


@dataclass(frozen=True)
class Components:
    """Variances of a paired difference, in the squared unit of the metric; A, B and G are defined in the module
    docstring.

    ``changed`` is the share of patients, mean over classes, that are correct under one arm and wrong under the other,
    and ``score`` the share that is correct under the reference; NaN if the metric does not count patients.
    """

    lasting: float
    passing: float
    run: float
    changed: float = NAN
    score: float = NAN

    @property
    def lasting_share(self) -> float:
        """A / (A + B); NaN without any response."""
        patients = self.lasting + self.passing
        return self.lasting / patients if patients > 0 else NAN

    def pair_variance(self, design: Design) -> float:
        """Return Var(pair)."""
        return (self.lasting + self.passing) / design.test_share + self.run

    def correlation(self, design: Design) -> float:
        """Return the mean correlation of two different pairs of the design, in [0, 1); NaN without any variance."""
        variance = self.pair_variance(design)
        if design.pairs < 2 or not variance > 0:
            return NAN
        return self.lasting * (design.pairs - design.folds) / (design.pairs - 1) / variance

    def seen_sd(self, design: Design) -> float:
        """Return the square root of E[s^2]: the sd of the design's J pairs, which is below the sd of a single pair."""
        return math.sqrt(self.pair_variance(design) * (1 - self.correlation(design)))

    def with_patients(self, factor: float) -> Components:
        """Return the components for that multiple of the patients, with unchanged runs."""
        return replace(self, lasting=self.lasting / factor, passing=self.passing / factor)

    def with_effect(self, effect: float) -> Components:
        """Return the components if the arm's mean effect on a patient were ``effect`` instead of 0.

        A patient's response is -1, 0 or 1 with mean d, so its variance is changed - d^2; and an effect changes more
        patients. Assume that scores change by normal amounts, and that the density of patients at the decision
        threshold is that of a normal distribution with ``score`` of it on the correct side, half-way between both arms.
        Then the share is the mean of a folded normal (Leone et al. 1961): sd sqrt(2/pi) exp(-d^2 / 2 sd^2) + d (1 - 2
        Phi(-d / sd)), sd from ``changed``. The additional patients are near the threshold whenever they are tested. An
        effect that gives a score above 1 is limited to a score of 1.
        """
        if not (self.changed > 0 and 0 < self.score < 1) or effect == 0:
            return self
        normal = NormalDist()
        here, there = (
            normal.pdf(normal.inv_cdf(min(max(s, 1e-6), 1 - 1e-6))) for s in (self.score, self.score + effect)
        )
        alike = self.changed * (1 + there / here) / 2
        sd, d = alike * math.sqrt(math.pi / 2), abs(effect)
        changed = alike * math.exp(-(d**2) / (2 * sd**2)) + d * math.erf(d / (sd * math.sqrt(2)))
        patients = (self.lasting + self.passing) * max(0.0, changed - d**2) / self.changed
        passing = min(self.passing, patients)
        return replace(self, lasting=patients - passing, passing=passing)


def design_power(components: Components, design: Design, effect: float, alpha: float = 0.05) -> float:
    """Return the power of the verdict's t test for a true mean difference ``effect`` with this design.

    1 for any effect if the components have no variance at all.
    """
    there = components.with_effect(effect)
    if not there.pair_variance(design) > 0:
        return float(effect != 0)
    ratio = pair_ratio(design.test_train_ratio)
    return power(effect, there.seen_sd(design), design.pairs, ratio, alpha, there.correlation(design))


def design_minimum_detectable_effect(
    components: Components, design: Design, target: float = 0.8, alpha: float = 0.05
) -> float:
    """Return the minimum detectable true difference of the design at power ``target``; NaN if not even 1 is."""
    from scipy.optimize import brentq

    def lacking(effect: float) -> float:
        return design_power(components, design, effect, alpha) - target

    if design.pairs < 2 or not lacking(1.0) >= 0:
        return NAN
    return float(brentq(lacking, 1e-9, 1.0, xtol=1e-8)) if components.pair_variance(design) > 0 else 0.0


def patients_needed(
    components: Components, design: Design, effect: float, patients: int, target: float = 0.8, alpha: float = 0.05
) -> int | None:
    """Return how many patients like these ``patients`` the design needs to find ``effect``.

    None when no number is enough: the variance of the runs is too large, or there are fewer than 2 pairs.
    """

    def enough(n: int) -> bool:
        return design_power(components.with_patients(n / patients), design, effect, alpha) >= target

    low, high = 0, patients
    while not enough(high):
        low, high = high, 2 * high
        if high > 1_000_000:
            return None
    return fewest(enough, low, high)
