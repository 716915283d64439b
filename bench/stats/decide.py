"""The word of each comparison of a family: helps, hurts, equivalent or undecided.

Which test decides: the crossed test for a learning curve, the components test for k-fold, the corrected resampled t
test with the whole ratio for hold-out. Measured with linear discriminants, by AUROC, in percent of 1,000 simulated
studies without an effect (two arms with noise columns drawn anew, columns of one noise bank, half-shared and disjoint
columns of equal worth) that say *helps* or *hurts*; in brackets the plain t test over sets or pairs:

    design                                        fresh   bank   half-shared   disjoint
    learning curve, 12 sets of 40, 400 patients     4.3    3.6     3.9 (18)     4.2 (20)
    learning curve, 6 sets of 24, 60 patients       1.9    2.6     1.6          2.3
    k-fold 5 x 1, 24 + 58 patients                  1.3    2.2     3.7          3.6
    k-fold 10 x 1                                   1.0    1.8     2.7          3.0
    k-fold 5 x 3                                    3.5    2.4     5.1 (33)     4.3 (34)
    hold-out x 10 (of one fifth)                    0.4    2.1     4.9          6.3

Hold-out exceeds 5 % and says so in its note. In k-fold, learners that overfit exceed it too (``folds_test``). Power for
an effect worth twice the patients: 99 % for the learning curve of 12 sets. In k-fold 5 x 3 it depends on what patients
add: 78, 59, 39 and 19 % where AUROC gains 11, 7, 6 and 4 points (50, 40, 30 and 20 columns); the corrected t test finds
43, 26, 18 and 7 % of these.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from bench.errors import ConfigError
from bench.stats.estimate import NAN, Estimate
from bench.stats.inference import holm
from bench.stats.planning import minimum_detectable_t

Word = Literal["helps", "hurts", "equivalent", "undecided"]


@dataclass(frozen=True)
class Verdict:
    """The decision on one comparison, in the unit of the score; > 0 means that the arm is better.

    ``low`` and ``high`` are the 1 - alpha interval of ``difference``, ``p`` the two-sided test of 0 before and
    ``p_adjusted`` after Holm's correction over ``family``, ``p_equivalent`` the corrected two one-sided tests at
    ``margin``. ``level`` is alpha / m of the m tests of the family: the level at which the minimum detectable effect
    (80 % power) is stated. ``test`` names the test, ``sets`` and ``groups`` are its trainings and test groups, ``note``
    what it does not cover, ``dof`` the degrees of freedom of its t distribution. ``withheld`` says why the arms are not
    compared; the word is then *undecided*. NaN if undefined.
    """

    word: Word
    difference: float
    low: float
    high: float
    p: float
    p_adjusted: float
    p_equivalent: float
    minimum_detectable_effect: float
    margin: float
    sets: int
    groups: int
    test: str
    family: str
    level: float
    note: str = ""
    standard_error: float = NAN
    dof: float = NAN
    withheld: str = ""


def decide(
    estimates: Mapping[str, Estimate],
    margin: float,
    alpha: float = 0.05,
    family: str = "comparisons",
    informative: Mapping[str, bool] | None = None,
) -> dict[str, Verdict]:
    """Return the verdict on each estimate of one family, by name.

    *equivalent*: two one-sided tests (Schuirmann 1987) show a difference within ``margin`` (> 0, in the unit of the
    score), even if it differs from 0, because it is then too small to matter. Else *helps* or *hurts* when the test
    rejects 0. Else *undecided*. Both kinds of tests are corrected by Holm over the family, so pass all comparisons of
    one claim in one call, and a primary contrast, declared before the run, in a call of its own. ``informative`` names
    comparisons that cannot show equivalence (False): both arms at chance, or constant predictions. Raises
    ``ConfigError`` for a margin that is not above 0.
    """
    if not margin > 0:
        raise ConfigError(f"an equivalence margin must be above 0, got {margin}")
    names = list(estimates)
    adjusted = holm([estimates[n].p for n in names])
    same = holm([equivalence(estimates[n], margin) for n in names])
    level = alpha / max(1, sum(not math.isnan(estimates[n].p) for n in names))
    found = {}
    for name, p, p_same in zip(names, map(float, adjusted), map(float, same), strict=True):
        e = estimates[name]
        sensitive = informative is None or informative.get(name, True)
        word: Word = "undecided"
        if p_same < alpha and sensitive:
            word = "equivalent"
        elif p < alpha:
            word = "helps" if e.difference > 0 else "hurts"
        found[name] = Verdict(
            word=word,
            difference=e.difference,
            low=e.low,
            high=e.high,
            p=e.p,
            p_adjusted=p,
            p_equivalent=p_same,
            minimum_detectable_effect=e.standard_error * _in_errors(e.dof, level),
            margin=margin,
            sets=e.sets,
            groups=e.groups,
            test=e.test,
            family=family,
            level=level,
            note=e.note,
            standard_error=e.standard_error,
            dof=e.dof,
        )
    return found


def equivalence(estimate: Estimate, margin: float) -> float:
    """Return p of two one-sided tests that the difference lies within (-margin, margin); NaN if undefined."""
    from scipy.special import stdtr

    e = estimate
    if not e.standard_error > 0:
        return NAN
    return float(stdtr(e.dof, (abs(e.difference) - margin) / e.standard_error))


@lru_cache(maxsize=1024)
def _in_errors(dof: float, level: float) -> float:
    return minimum_detectable_t(dof, level) if dof > 0 else NAN
