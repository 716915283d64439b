"""Compute-matched comparison: total compute of every arm, and references trained for more steps at a similar cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bench.analysis.comparison import compared
from bench.analysis.info import ReportInfo
from bench.analysis.lines import Line
from bench.stats.decide import Verdict
from bench.stats.pareto import pareto
from bench.suite.arms import Arm
from bench.suite.suite import REFERENCES


@dataclass(frozen=True)
class Charged:
    """One arm with one classifier: device seconds over all planned pairs including tuning, and mean score in [0, 1].

    ``on_front``: no cheaper arm has an equal or better mean. ``multiplied``: reference with a training multiplier.
    """

    classifier: str
    arm: Arm
    charged_s: float
    tuned_s: float
    mean: float
    low: float
    high: float
    on_front: bool
    multiplied: bool


@dataclass(frozen=True)
class Match:
    """An arm and the reference training with the closest cost.

    ``verdict`` is on arm − reference.
    """

    classifier: str
    arm: Arm
    charged_s: float
    reference: Arm
    reference_s: float
    verdict: Verdict


def charged(lines: Sequence[Line], multiplied: Sequence[Line]) -> tuple[Charged, ...]:
    """Return every arm with a score and a cost, cheapest first; ``multiplied`` have training multipliers."""
    found = []
    for classifier in dict.fromkeys(x.classifier for x in lines):
        known = [x for x in (*lines, *multiplied) if x.classifier == classifier and _known(x)]
        front = pareto([(x.charged_s, x.score.mean) for x in known])
        for x in sorted(known, key=lambda x: x.charged_s):
            score = x.score
            found.append(
                Charged(
                    classifier,
                    x.arm,
                    x.charged_s,
                    x.tuned_s,
                    *(score.mean, score.low, score.high),
                    on_front=(x.charged_s, score.mean) in front,
                    multiplied=x in multiplied,
                )
            )
    return tuple(found)


def matches(lines: Sequence[Line], multiplied: Sequence[Line], info: ReportInfo) -> tuple[Match, ...]:
    """Return every arm with each compute-matched reference. Holm's correction runs over the arms of a classifier."""
    found: list[Match] = []
    for classifier in info.classifiers:
        mine = [x for x in lines if x.classifier == classifier and _known(x)]
        for reference in REFERENCES if multiplied else ():
            steps = [
                x for x in (*mine, *multiplied) if (x.arm.method, x.classifier) == (reference, classifier) and _known(x)
            ]
            arms = [x for x in mine if x.arm.method not in ("none", reference) and not x.arm.subset]
            if not steps:
                continue
            beside = {x.arm: _nearest(x, steps) for x in arms}
            sides = {x.arm: x.scored(info) for x in (*arms, *steps)}
            pairs = [(x.arm, beside[x.arm].arm) for x in arms]
            family = f"compute-matched with {reference}"
            cost = {x.arm: x.charged_s for x in (*arms, *steps)}
            found += [
                Match(classifier, c.arm, cost[c.arm], c.reference, cost[c.reference], c.verdict)
                for c in compared(sides, pairs, info, info.unit.primary, classifier, family, info.margin)
            ]
    return tuple(found)


def _nearest(line: Line, steps: Sequence[Line]) -> Line:
    return min(steps, key=lambda s: abs(math.log(s.charged_s / line.charged_s)))


def _known(line: Line) -> bool:
    return line.pairs > 0 and math.isfinite(line.charged_s) and line.charged_s > 0
