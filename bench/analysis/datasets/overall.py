"""Overall effect of each arm over data sets: random-effects mean, verdict and prediction interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from bench.analysis.datasets.effects import At, Effect, SubSuite, separate_sets
from bench.stats.inference import holm
from bench.stats.meta_analysis import FEWEST, Overall, combine

ALPHA = 0.05
Carries = Literal["holds", "on average", "differs", "equivalent", "undecided", "too few"]
BETTER, WORSE = ("helps", "lower"), ("hurts", "higher")


@dataclass(frozen=True)
class Pooled:
    """One arm's difference over data sets. ``word`` is the verdict on the mean, corrected by Holm over its family.

    ``carries``: *holds* if the mean is decided and the prediction interval excludes zero; *on average* if only the
    mean is decided; *differs* if the mean is undecided and data sets contradict each other; *equivalent* if the mean
    is within the margin; *too few* with fewer than three data sets.
    """

    at: At
    effects: tuple[tuple[str, Effect], ...]  # by sub-suite
    left_out: tuple[str, ...]  # sub-suites that have it without an interval
    found: Overall
    p_adjusted: float = math.nan
    word: str = "undecided"
    carries: Carries = "too few"


def pool(sub_suites: Sequence[SubSuite]) -> tuple[Pooled, ...]:
    """Combine the effects of each arm over the sub-suites, in their order of arms.

    A family of Holm's correction is all arms with one measure and classifier. Sub-suites of the same data set are not
    separate studies and are not combined.
    """
    separate = separate_sets(sub_suites)
    families: dict[tuple[str, str], list[Pooled]] = {}
    for at in dict.fromkeys(at for m in sub_suites for at in m.effects):
        here = tuple((m.name, m.effects[at]) for m in sub_suites if at in m.effects)
        used = [(name, e) for name, e in here if e.error > 0 or not e.difference]  # no change at all counts as well
        margin = None if at.measure == "kid" else sub_suites[0].margin
        found = Overall(0)
        if separate:
            errors = [e.error if e.error > 0 else 0.0 for _, e in used]
            found = combine([e.difference for _, e in used], errors, [e.dof for _, e in used], margin, ALPHA)
        names = {name for name, _ in used}
        left_out = tuple(name for name, _ in here if name not in names)
        families.setdefault((at.measure, at.classifier), []).append(Pooled(at, here, left_out, found))
    return tuple(p for family in families.values() for p in _with_verdicts(family))


def _with_verdicts(family: Sequence[Pooled]) -> list[Pooled]:
    p_adjusted = holm([p.found.p for p in family])
    p_equivalent = holm([p.found.p_equivalent for p in family])
    found = []
    for pooled, p, same in zip(family, p_adjusted, p_equivalent, strict=True):
        word = _word(pooled, float(p), float(same))
        found.append(
            Pooled(pooled.at, pooled.effects, pooled.left_out, pooled.found, float(p), word, _carries(pooled, word))
        )
    return found


def _word(pooled: Pooled, p_adjusted: float, p_equivalent: float) -> str:
    if p_equivalent < ALPHA:
        return "equivalent"
    if not p_adjusted < ALPHA:
        return "undecided"
    above = pooled.found.mean > 0
    if pooled.at.measure == "kid":
        return "higher" if above else "lower"
    return "helps" if above else "hurts"


def _carries(pooled: Pooled, word: str) -> Carries:
    t = pooled.found
    if t.studies < FEWEST:
        return "too few"
    if word == "equivalent":
        return "equivalent"
    if word != "undecided":
        return "holds" if t.next_low * t.next_high > 0 else "on average"
    words = {e.word for _, e in pooled.effects}
    return "differs" if words & {*BETTER} and words & {*WORSE} else "undecided"
