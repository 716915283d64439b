"""What a design of folds and repeats can find: power of the corrected t test, and the variance a paired difference has.

A pair (fold, repeat) differs from another for three reasons, and only two of them average out over repeats:

    difference = mean over the fold's test patients of (lasting + passing response of a patient) + run

*lasting*: a patient is helped or hurt by an arm whenever it is tested (only more patients help); *passing*: this time
only; *run*: one training, common to all it tests. With A, B what the patients' lasting and passing responses add to the
variance of a mean over all patients, G the variance of a run, a share tau of the patients in each test part, and m
disjoint test parts a repeat (1 / tau for k-fold, 1 for hold-out):

    Var(pair) = (A + B) / tau + G        Cov(two repeats) = A        Cov(two folds of one repeat) = 0

so the mean of J pairs varies by Var(pair) / J + A (J - m) / J. With A alone and hold-out splits this is Nadeau &
Bengio's (2003) own argument, correlation = share of common test patients; for k folds their n_test / n_train is an
upper bound, and leaves room for what common training patients do. That cannot be estimated without bias from one data
set (Bengio & Grandvalet 2004) and counts as 0 here: real learners on 250 made-up data sets of 82 patients, where it can
be seen, gave folds of one repeat a correlation of -0.02 to 0.03, and repeats one of A's share / folds (see
``reports/selftest``). Plain arrays and numbers; no file.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from bench.errors import ConfigError, DataError

NAN = float("nan")
Floats = npt.NDArray[np.float64]


def power(
    effect: float, sd: float, pairs: int, test_train_ratio: float, alpha: float = 0.05, correlation: float | None = None
) -> float:
    """Return the chance that the corrected t test of ``pairs`` differences of that sd finds a mean of ``effect``.

    ``correlation`` is the true mean correlation rho of two pairs. The test divides by s^2 (1/J + ratio) while the mean
    varies by s^2 c, c = 1/J + rho / (1 - rho); so t^2 (1/J + ratio) / c is noncentral F with 1 and J - 1 degrees of
    freedom, lambda = effect^2 / (sd^2 c). None takes the test at its word, rho / (1 - rho) = ratio, and then this is
    the textbook's power. (scipy's noncentral t, the usual way, is NaN for ordinary values.) NaN for fewer than 2 pairs
    or an sd that is not above 0. Raises ``ConfigError`` for a correlation that J pairs cannot have.
    """
    from scipy.special import ncfdtr, stdtrit

    if pairs < 2 or not sd > 0:
        return NAN
    assumed = 1 / pairs + test_train_ratio
    true = assumed if correlation is None else _variance_factor(pairs, correlation)
    critical = float(stdtrit(pairs - 1, 1 - alpha / 2)) ** 2 * assumed / true
    missed = float(ncfdtr(1, pairs - 1, (effect / sd) ** 2 / true, critical))
    return 1.0 if math.isnan(missed) else 1 - missed  # NaN where the chance to miss is below its precision


def _variance_factor(pairs: int, correlation: float) -> float:
    """Return c in Var(mean) = c E[s^2] for J values of mean correlation rho."""
    if not -1 / (pairs - 1) < correlation < 1:
        raise ConfigError(f"{pairs} pairs cannot have a mean correlation of {correlation}; expected -1/(J-1) to 1")
    return 1 / pairs + correlation / (1 - correlation)


def smallest_detectable_effect(
    sd: float,
    pairs: int,
    test_train_ratio: float,
    target: float = 0.8,
    alpha: float = 0.05,
    correlation: float | None = None,
) -> float:
    """Return the mean difference (> 0, the unit of ``sd``) that this design finds with power ``target``; NaN as above.

    With a ratio above 0 it does not fall to 0 as repeats are added: overlapping training sets set a floor.
    """
    if pairs < 2 or not sd > 0:
        return NAN
    return sd * _standardised_effect(pairs, test_train_ratio, target, alpha, correlation)


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
    """Return the fewest pairs that find ``effect`` with power ``target``; None when ``limit`` pairs do not.

    The ratio counts as fixed, as it is when the same k folds are repeated; None then says: more repeats cannot do it.
    ``planning`` asks the same of folds and repeats whose correlation was measured.
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


@dataclass(frozen=True)
class Design:
    """J = ``folds`` x ``repeats`` pairs, each with ``test_share`` of the patients in its test part.

    For hold-out ``folds`` is 1. ``test_train_ratio`` is n_test / n_train as the corrected t test is told.
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
    """Variances of a paired difference, in the squared unit of the metric; see the module's text for A, B and G."""

    lasting: float
    passing: float
    run: float

    @property
    def lasting_share(self) -> float:
        """A / (A + B): how much of a patient's response returns when it is tested again; NaN without any response."""
        patients = self.lasting + self.passing
        return self.lasting / patients if patients > 0 else NAN

    def pair_variance(self, design: Design) -> float:
        """Return Var(pair)."""
        return (self.lasting + self.passing) / design.test_share + self.run

    def correlation(self, design: Design) -> float:
        """Return the mean correlation of two different pairs of the design, in [0, 1)."""
        variance = self.pair_variance(design)
        if design.pairs < 2 or not variance > 0:
            return NAN
        return self.lasting * (design.pairs - design.folds) / (design.pairs - 1) / variance

    def seen_sd(self, design: Design) -> float:
        """Return the square root of E[s^2]: the sd that the design's J pairs show, below the sd of a pair alone."""
        return math.sqrt(self.pair_variance(design) * (1 - self.correlation(design)))

    def with_patients(self, factor: float) -> Components:
        """Return what they would be with so many times the patients, the runs as they are."""
        return replace(self, lasting=self.lasting / factor, passing=self.passing / factor)


def design_power(components: Components, design: Design, effect: float, alpha: float = 0.05) -> float:
    """Return the chance that the design's corrected t test finds a true mean difference ``effect``."""
    sd, rho = components.seen_sd(design), components.correlation(design)
    return power(effect, sd, design.pairs, design.test_train_ratio, alpha, rho)


def design_smallest_effect(components: Components, design: Design, target: float = 0.8, alpha: float = 0.05) -> float:
    """Return the smallest true difference that the design finds with power ``target``."""
    sd, rho = components.seen_sd(design), components.correlation(design)
    return smallest_detectable_effect(sd, design.pairs, design.test_train_ratio, target, alpha, rho)


def patients_needed(
    components: Components, design: Design, effect: float, patients: int, target: float = 0.8, alpha: float = 0.05
) -> int | None:
    """Return how many patients like these the design takes to find ``effect``; None when runs alone vary too much."""

    def enough(n: int) -> bool:
        return design_power(components.with_patients(n / patients), design, effect, alpha) >= target

    low, high = 0, patients
    while not enough(high):
        low, high = high, 2 * high
        if high > 1_000_000:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def estimate_components(
    responses: npt.ArrayLike, labels: npt.ArrayLike, folds: npt.ArrayLike, test_share: float
) -> Components:
    """Return the components of one comparison from its patients, by the method of moments.

    ``responses`` float [R, P]: score of the arm minus score of the reference on each patient (right or wrong: -1, 0 or
    1), NaN where the repeat does not test it; ``labels`` int [P]; ``folds`` int [R, P], the pair that tested it;
    ``test_share`` tau. The metric is the mean over classes of the mean over patients, as balanced accuracy is.

    A + B from the spread of patients of one class in one run; A from what two repeats have in common, patient by
    patient; G from what folds of one repeat (of hold-out: repeats) differ by beyond their patients. A lies within
    [0, A + B], and is A + B with one repeat, which cannot tell: repeats are then promised nothing. Raises ``DataError``
    when no class has two patients in one run.
    """
    d, y, f = np.asarray(responses, dtype=np.float64), np.asarray(labels), np.asarray(folds)
    classes = np.unique(y)
    spread, shared = np.zeros(len(classes)), np.full(len(classes), np.nan)
    expected: list[float] = []  # what patients alone would add to the variance of each pair
    runs = [(r, k) for r in range(len(d)) for k in np.unique(f[r][~np.isnan(d[r])])]
    inside = {run: (f[run[0]] == run[1]) & ~np.isnan(d[run[0]]) for run in runs}
    for i, c in enumerate(classes):
        spread[i] = _pooled_variance([d[r][inside[r, k] & (y == c)] for r, k in runs])
        shared[i] = _shared_variance(d[:, y == c])
    if np.isnan(spread).all():
        raise DataError("no run tests two patients of a class: a pilot needs more patients a fold")
    spread = np.where(np.isnan(spread), np.nanmean(spread), spread)
    for at in runs:
        counts = [max(1, int((inside[at] & (y == c)).sum())) for c in classes]
        expected.append(float((spread / counts).sum()) / len(classes) ** 2)
    tested = np.array([np.sum(y == c) for c in classes])
    patients = float((spread / tested).sum()) / len(classes) ** 2
    lasting = patients if np.isnan(shared).any() else float((shared / tested).sum()) / len(classes) ** 2
    lasting = min(max(lasting, 0.0), patients)
    seen = _seen_variance(d, y, runs, inside) + (lasting if len(np.unique([r for r, _ in runs])) == len(runs) else 0)
    run = 0.0 if math.isnan(seen) else max(0.0, seen - float(np.mean(expected)))
    return Components(lasting, patients - lasting, run)


def mean_components(components: Iterable[Components]) -> Components:
    """Return the mean of several comparisons' components, each part on its own."""
    parts = np.array([(c.lasting, c.passing, c.run) for c in components])
    return Components(*(float(v) for v in parts.mean(axis=0)))


def _pooled_variance(groups: Sequence[Floats]) -> float:
    """Return the variance within groups; NaN when each has one value."""
    dof = sum(len(g) - 1 for g in groups if len(g))
    return float(sum(((g - g.mean()) ** 2).sum() for g in groups if len(g)) / dof) if dof else NAN


def _shared_variance(d: Floats) -> float:
    """Return the covariance of two repeats over patients, the mean over pairs of repeats [R, P]; NaN for one repeat."""
    found = []
    for i in range(len(d)):
        for j in range(i):
            both = ~np.isnan(d[i]) & ~np.isnan(d[j])
            if both.sum() > 1:
                found.append(float(np.cov(d[i, both], d[j, both])[0, 1]))
    return float(np.mean(found)) if found else NAN


def _seen_variance(
    d: Floats,
    y: npt.NDArray[np.int64],
    runs: Sequence[tuple[int, int]],
    inside: dict[tuple[int, int], npt.NDArray[np.bool_]],
) -> float:
    """Return the variance of pairs: within repeats where those hold several, else between repeats."""
    by_repeat: dict[int, list[float]] = {}
    for r, k in runs:
        means = [d[r][inside[r, k] & (y == c)] for c in np.unique(y)]
        if all(len(m) for m in means):
            by_repeat.setdefault(r, []).append(float(np.mean([m.mean() for m in means])))
    groups = [np.array(v) for v in by_repeat.values()]
    within = _pooled_variance(groups)
    return _pooled_variance([np.concatenate(groups)]) if groups and math.isnan(within) else within
