"""Custom metrics of the suite: mean over pairs of each arm, and paired difference to `none`. Pure.

Test and Holm's correction are those of ``bench.analysis.comparison``. No result is called equivalent,
because no margin is defined for a custom unit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from bench.analysis.comparison import Scored, compared
from bench.analysis.info import ReportInfo
from bench.analysis.rows import NAN, Pair, Rows, Score
from bench.stats.decide import Verdict
from bench.suite.arms import Arm

NONE = Arm("none")


@dataclass(frozen=True)
class OwnScore:
    """One metric of one arm with one classifier, over the pairs (fold × repeat) that have it.

    ``metric`` is its name in the store without ``test/``. ``difference`` is arm minus `none`, the mean over the
    ``compared`` pairs that both have, with its 95 % interval; ``p_adjusted`` is corrected over the arms. ``word`` is ''
    for `none` and if nothing could be compared. Unknown values are NaN.
    """

    classifier: str
    arm: Arm
    metric: str
    score: Score
    planned: int
    difference: float = NAN
    low: float = NAN
    high: float = NAN
    p: float = NAN
    p_adjusted: float = NAN
    word: Literal["", "helps", "hurts", "equivalent", "undecided"] = ""
    compared: int = 0
    verdict: Verdict | None = None  # with test, family and level


def own_scores(rows: Rows, info: ReportInfo) -> tuple[OwnScore, ...]:
    """Return a record for each classifier, metric and arm, in the suite's order; () without custom metrics."""
    return tuple(x for c in info.classifiers for metric in info.measures for x in _family(rows, info, c, metric))


def _family(rows: Rows, info: ReportInfo, classifier: str, metric: str) -> list[OwnScore]:
    values = {arm: _values(rows, info, arm, classifier, metric) for arm in info.arms}
    return compared_with_none(values, classifier, metric, info.measures[metric].better == "lower", info)


def compared_with_none(
    values: Mapping[Arm, Mapping[Pair, float]], classifier: str, metric: str, lower: bool, info: ReportInfo
) -> list[OwnScore]:
    """Return a record for each arm's finite values by pair, compared with `none` if it is among them.

    Holm's correction runs over the arms. ``lower``: lower is better.
    """
    scored = {arm: Scored(by_pair, lower=lower) for arm, by_pair in values.items()}
    against = [(arm, NONE) for arm in values if arm != NONE]
    tested = {c.arm: c.verdict for c in compared(scored, against, info, metric, classifier, f"{metric}, {classifier}")}
    found = []
    for arm, mine in values.items():
        record = OwnScore(classifier, arm, metric, Score.of(mine.values()), len(info.pairs))
        if v := tested.get(arm):
            shared = mine.keys() & values[NONE].keys()
            sign = -1 if lower else 1
            ends = sorted((sign * v.low, sign * v.high))
            record = replace(record, difference=sign * v.difference, low=ends[0], high=ends[1], p=v.p, verdict=v)
            record = replace(record, p_adjusted=v.p_adjusted, word=v.word, compared=len(shared))
        found.append(record)
    return found


def _values(rows: Rows, info: ReportInfo, arm: Arm, classifier: str, metric: str) -> Mapping[Pair, float]:
    found = {pair: rows.classifier("evaluate", arm, classifier, pair) for pair in info.pairs}
    values = {p: r.metrics.get(f"test/{metric}", NAN) for p, r in found.items() if r and r.status == "done"}
    return {p: v for p, v in values.items() if math.isfinite(v)}
