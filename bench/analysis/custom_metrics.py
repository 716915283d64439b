"""Custom metrics of the suite: mean over pairs of each arm, and paired difference to `none`. Pure.

The test and Holm's correction are those of the verdicts (``bench.stats.inference.verdicts``). No result is called
equivalent, because no margin is defined for a custom unit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from bench.analysis.info import ReportInfo
from bench.analysis.lines import paired_differences
from bench.analysis.rows import NAN, Pair, Rows, Score
from bench.stats.inference import corrected_resampled_t, holm
from bench.stats.planning import pair_ratio
from bench.suite.arms import Arm

ALPHA = 0.05
NONE = Arm("none")


@dataclass(frozen=True)
class OwnScore:
    """One metric of one arm with one classifier, over the pairs (fold × repeat) that have it.

    ``metric`` is its name in the store without ``test/``. ``difference`` is arm minus `none`, the mean over the
    ``compared`` pairs that both have, with its 95 % interval; ``p_holm`` is corrected over the arms. ``word`` is '' for
    `none` and if nothing could be compared. Unknown values are NaN.
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
    p_holm: float = NAN
    word: Literal["", "helps", "hurts", "undecided"] = ""
    compared: int = 0


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
    changes = {arm: paired_differences(v, values.get(NONE, {})) for arm, v in values.items() if arm != NONE}
    ratio = pair_ratio(info.test_train_ratio)
    tests = {arm: corrected_resampled_t(change, ratio, ALPHA) for arm, change in changes.items() if change}
    corrected = dict(zip(tests, holm([t.p for t in tests.values()]).tolist(), strict=True))
    found = []
    for arm, mine in values.items():
        record = OwnScore(classifier, arm, metric, Score.of(mine.values()), len(info.pairs))
        if arm in tests:
            mean, t, p_holm = Score.of(changes[arm]).mean, tests[arm], corrected[arm]
            better = "helps" if (mean < 0) == lower else "hurts"
            word = better if p_holm < ALPHA else "undecided"
            at = (record.classifier, arm, metric, record.score, record.planned)
            record = OwnScore(*at, mean, t.low, t.high, t.p, p_holm, word, len(changes[arm]))  # type: ignore[arg-type]
        found.append(record)
    return found


def _values(rows: Rows, info: ReportInfo, arm: Arm, classifier: str, metric: str) -> Mapping[Pair, float]:
    found = {pair: rows.classifier("evaluate", arm, classifier, pair) for pair in info.pairs}
    values = {p: r.metrics.get(f"test/{metric}", NAN) for p, r in found.items() if r and r.status == "done"}
    return {p: v for p, v in values.items() if math.isfinite(v)}
