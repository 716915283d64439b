"""The learning curve: scores and verdicts at each size of the training sets, worth in patients, ranks, controls. Pure.

Two controls show whether a run could have decided anything: *more patients* (`none` with the next larger sets against
`none`) must help, and the method `noise`, whose synthetic images are noise, must not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np

from bench.analysis.comparison import ALPHA, Comparison, estimate
from bench.analysis.info import ReportInfo
from bench.analysis.lines import Line, leaderboard
from bench.analysis.rows import Rows, Score
from bench.stats.decide import decide
from bench.stats.endpoints import ENDPOINTS
from bench.stats.ranks import rank_shares
from bench.stats.worth import Worth, worth_in_patients
from bench.suite.arms import Arm
from bench.suite.contrast import NOISE

NONE = Arm("none")
POSITIVE_FAMILY = "positive control"
DRAWS = 2000
Control = Literal["more patients", "noise"]


@dataclass(frozen=True)
class CurvePoint:
    """An arm's primary score at one size of training sets, over ``score.n`` sets, with its 95 % interval."""

    classifier: str
    arm: Arm
    train_patients: int
    score: Score


@dataclass(frozen=True)
class ArmWorth:
    """How many more real patients an arm is worth, at one size; ``device_s`` of a set's generator, NaN without one."""

    classifier: str
    arm: Arm
    train_patients: int
    worth: Worth
    device_s: float


@dataclass(frozen=True)
class ArmRanks:
    """Share of bootstrap draws (over sets and test groups) in which an arm takes each rank; the first is the best."""

    classifier: str
    arm: Arm
    shares: tuple[float, ...]


@dataclass(frozen=True)
class ControlResult:
    """A control and whether it came out as it must: more patients help, noise does not."""

    name: Control
    comparison: Comparison
    held: bool


@dataclass(frozen=True)
class Curve:
    """All results of a learning curve. ``comparisons`` are with `none` at every size, in the primary score."""

    points: tuple[CurvePoint, ...]
    comparisons: tuple[Comparison, ...]
    worths: tuple[ArmWorth, ...]
    ranks: tuple[ArmRanks, ...]
    controls: tuple[ControlResult, ...]


def curve(rows: Rows, info: ReportInfo, root: Path, known: Sequence[Line] | None = None) -> Curve | None:
    """Return the learning curve of a run; None for another design.

    ``known`` are the lines of ``info.verdict_size``, if they were made already. Raises ``StoreError`` for damaged
    predictions.
    """
    if not info.is_curve:
        return None
    of_sizes = {
        n: known
        if known is not None and n == info.verdict_size
        else leaderboard(rows.at_size(n), info.at_size(n), root)
        for n in info.sizes
    }
    lines = {(n, x.classifier, x.arm): x for n, of in of_sizes.items() for x in of if x.pairs}
    points = [CurvePoint(c, arm, n, x.score) for (n, c, arm), x in lines.items()]
    compared = [c for x in lines.values() for c in x.comparisons if c.metric == x.primary and c.reference == NONE]
    more = [c for name in info.classifiers for c in _more_patients(name, lines, info)]
    return Curve(
        points=tuple(points),
        comparisons=tuple(compared),
        worths=tuple(w for name in info.classifiers for w in _worths(name, lines, info)),
        ranks=tuple(r for name in info.classifiers for r in _ranks(name, of_sizes[info.verdict_size or 0], info)),
        controls=(
            *(ControlResult("more patients", c, c.verdict.word == "helps") for c in more),
            *(ControlResult("noise", c, c.verdict.word != "helps") for c in compared if c.arm.method == NOISE),
        ),
    )


Lines = dict[tuple[int, str, Arm], Line]


def _more_patients(classifier: str, lines: Lines, info: ReportInfo) -> list[Comparison]:
    """Return `none` at each size against `none` at the size before it."""
    found = []
    for fewer, more in pairwise(info.sizes):
        a, b = (lines.get((n, classifier, NONE)) for n in (more, fewer))
        tested = estimate(a.scored(info), b.scored(info), info) if a and b else None
        if a and tested:
            verdict = decide({"": tested}, info.margin, info.alpha, POSITIVE_FAMILY, {"": False})[""]
            found.append(Comparison(a.primary, classifier, NONE, NONE, verdict, more, fewer))
    return found


def _worths(classifier: str, lines: Lines, info: ReportInfo) -> list[ArmWorth]:
    """Return the worth of every arm at every size at which there is one, from the whole curve of `none`."""
    known = [n for n in info.sizes if (x := lines.get((n, classifier, NONE))) and x.contributions]
    found = []
    for (size, name, arm), line in lines.items():
        if name != classifier or arm == NONE or not line.contributions or size not in known or len(known) < 2:
            continue
        references = [lines[n, classifier, NONE].contributions for n in known]
        sides = [c for c in (*references, line.contributions) if c]
        shared = [r for r in sides[-1].rows if all(r in c.rows for c in sides)]
        if len(shared) < 2 or any(c.groups != sides[0].groups for c in sides):
            continue
        *reference, mine = (c.at(shared, info.endpoint) for c in sides)
        higher = ENDPOINTS[info.endpoint] == "higher"
        worth = worth_in_patients(known, np.stack(reference), mine, size, ALPHA, higher)
        found.append(ArmWorth(classifier, arm, size, worth, line.generator_device_s))
    return found


def _ranks(classifier: str, lines: Sequence[Line], info: ReportInfo) -> list[ArmRanks]:
    """Return how stable the ranks of the arms are at one size."""
    mine = [x for x in lines if x.classifier == classifier and x.contributions and not x.arm.subset]
    known = [(x, c) for x in mine if (c := x.contributions)]
    if len(known) < 2:
        return []
    shared = [r for r in known[0][1].rows if all(r in c.rows for _, c in known)]
    if not shared or any(c.groups != known[0][1].groups for _, c in known):
        return []
    values = np.stack([c.at(shared, info.endpoint) for _, c in known])
    shares = rank_shares(values, DRAWS, higher=ENDPOINTS[info.endpoint] == "higher")
    return [ArmRanks(classifier, x.arm, tuple(map(float, row))) for (x, _), row in zip(known, shares, strict=True)]
