"""Compute-matched comparison: total compute of every arm, and references trained longer on a similar budget. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bench.analysis.info import ReportInfo
from bench.analysis.lines import Line, paired_differences
from bench.stats.inference import Verdict, verdicts
from bench.stats.pareto import pareto
from bench.suite.arms import Arm
from bench.suite.suite import REFERENCES


@dataclass(frozen=True)
class Charged:
    """One arm with one classifier: device seconds over all planned pairs including tuning, and mean score in [0, 1].

    ``on_front``: no cheaper arm has an equal or better mean. ``longer``: reference with a training multiplier.
    """

    classifier: str
    arm: Arm
    charged_s: float
    tuned_s: float
    mean: float
    low: float
    high: float
    on_front: bool
    longer: bool


@dataclass(frozen=True)
class Match:
    """An arm and the reference training with the closest cost.

    ``verdict`` is on the paired differences arm − reference. ``match_s`` is the least device time (seconds) with which
    the reference reached the mean score of the arm (infinite: never), ``most_s`` the largest that was tried.
    """

    classifier: str
    arm: Arm
    charged_s: float
    reference: Arm
    reference_s: float
    verdict: Verdict
    match_s: float
    most_s: float


def charged(lines: Sequence[Line], longer: Sequence[Line]) -> tuple[Charged, ...]:
    """Return every arm with a score and a cost, cheapest first; ``longer`` are references with training multipliers."""
    found = []
    for classifier in dict.fromkeys(x.classifier for x in lines):
        known = [x for x in (*lines, *longer) if x.classifier == classifier and _known(x)]
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
                    longer=x in longer,
                )
            )
    return tuple(found)


def matches(lines: Sequence[Line], longer: Sequence[Line], info: ReportInfo) -> tuple[Match, ...]:
    """Return every arm with each compute-matched reference. Holm's correction runs over the arms of a classifier."""
    found: list[Match] = []
    for classifier in info.classifiers:
        mine = [x for x in lines if x.classifier == classifier and _known(x)]
        for reference in REFERENCES if longer else ():
            steps = [
                x for x in (*mine, *longer) if (x.arm.method, x.classifier) == (reference, classifier) and _known(x)
            ]
            arms = [x for x in mine if x.arm.method not in ("none", reference) and not x.arm.exclude_memorised]
            if not steps:
                continue
            beside = {x.arm: _nearest(x, steps) for x in arms}
            differences = {x.arm.label: paired_differences(x.by_pair, beside[x.arm].by_pair) for x in arms}
            found_verdicts = verdicts({k: d for k, d in differences.items() if d}, info.margin, info.test_train_ratio)
            found += [
                Match(
                    classifier,
                    x.arm,
                    x.charged_s,
                    beside[x.arm].arm,
                    beside[x.arm].charged_s,
                    found_verdicts[x.arm.label],
                    match_s=min((s.charged_s for s in steps if _mean(s) >= _mean(x)), default=math.inf),
                    most_s=max(s.charged_s for s in steps),
                )
                for x in arms
                if x.arm.label in found_verdicts
            ]
    return tuple(found)


def _nearest(line: Line, steps: Sequence[Line]) -> Line:
    return min(steps, key=lambda s: abs(math.log(s.charged_s / line.charged_s)))


def _known(line: Line) -> bool:
    return line.pairs > 0 and math.isfinite(line.charged_s) and line.charged_s > 0


def _mean(line: Line) -> float:
    return line.score.mean
