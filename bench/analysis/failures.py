"""Failed, skipped and missing cells, causes first, and their effect on verdicts. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bench.analysis.info import ReportInfo
from bench.analysis.lines import Gap, Line, paired_differences
from bench.analysis.rows import NAN, Pair, Rows, one_line
from bench.plan.plan import STAGES
from bench.stats.inference import mean_sd
from bench.stats.planning import minimum_detectable_effect, pair_ratio
from bench.suite.arms import Arm
from bench.suite.suite import REFERENCES
from bench.types import ResultRow

ORDER = {"failed": 0, "skipped": 1}


@dataclass(frozen=True)
class Failure:
    """Cells of one stage with the same status and reason. ``where`` names classifier and ratio, if the stage has "
    "them."""

    status: str
    stage: str
    reason: str
    cells: int
    methods: tuple[str, ...]
    where: tuple[str, ...]
    pairs: tuple[Pair, ...]


def failures(rows: Rows, info: ReportInfo) -> tuple[Failure, ...]:
    """Return failed, skipped and missing cells; causes before their consequences.

    One record for each stage, method and reason; cells not started are one record for each stage.
    """
    groups: dict[tuple[str, str, str, str], list[ResultRow]] = {}
    for stage in STAGES:
        for r in rows.all(stage):
            if r.status != "done":
                reason = one_line(r.error) if r.error else "not run yet"
                method = (r.method or "") if r.status in ORDER else ""
                groups.setdefault((r.status, r.stage, method, reason), []).append(r)
    found = []
    for (status, stage, _, reason), cells in groups.items():
        methods = tuple(m for m in info.methods if any(r.method == m for r in cells))
        where = dict.fromkeys(
            f"{r.classifier} {Arm.parse(r.method, r.ratio).variant_label}".strip() for r in cells if r.classifier
        )
        pairs = {(r.fold or 0, r.repeat or 0) for r in cells}
        found.append(Failure(status, stage, reason, len(cells), methods, tuple(where), tuple(sorted(pairs))))
    return tuple(sorted(found, key=lambda f: ORDER.get(f.status, len(ORDER))))


@dataclass(frozen=True)
class Loss:
    """Effect of missing scores on one verdict: an arm against a reference, with one classifier.

    Both have a score in ``pairs`` of the ``planned`` pairs; ``own`` are the gaps of the arm, ``theirs`` those of the
    reference. ``smallest`` is the minimum detectable effect (80 % power) with these pairs, ``whole`` that with all
    planned pairs and the same spread; NaN if unknown. ``word`` is the verdict, '' without one.
    """

    classifier: str
    arm: Arm
    reference: str
    planned: int
    pairs: int
    own: tuple[Gap, ...]
    theirs: tuple[Gap, ...]
    smallest: float
    whole: float
    word: str


@dataclass(frozen=True)
class Family:
    """A family of comparisons for Holm's correction, and the arms ``lost`` from it.

    Lost arms have fewer than two pairs and no p value. ``without_memorised``: the family without memorised samples.
    """

    classifier: str
    reference: str
    planned: int
    lost: tuple[Arm, ...]
    without_memorised: bool = False


@dataclass(frozen=True)
class Shortfall:
    """A stage of one method's generators that lacks pairs; ``method`` is '' for stages shared by all methods.

    ``planned`` is the number of planned pairs, ``pairs`` are the missing ones.
    """

    stage: str
    method: str
    planned: int
    pairs: tuple[Pair, ...]


def losses(lines: Sequence[Line], info: ReportInfo) -> tuple[Loss, ...]:
    """Return a record for each comparison that lacks a pair, by classifier and reference, arms in the suite's order."""
    found = []
    for classifier, reference, base, arms in _compared(lines, info):
        for x in arms:
            if x.gaps or base.gaps:
                change = paired_differences(x.by_pair, base.by_pair)
                verdict = x.versus.get(reference, {}).get(x.primary)
                ratio, known = pair_ratio(info.test_train_ratio), verdict is not None and math.isfinite(verdict.low)
                whole = minimum_detectable_effect(mean_sd(change)[1], x.planned, ratio) if known else NAN
                found.append(
                    Loss(
                        classifier,
                        x.arm,
                        reference,
                        planned=x.planned,
                        pairs=len(change),
                        own=x.gaps,
                        theirs=base.gaps,
                        smallest=verdict.minimum_detectable_effect if verdict else NAN,
                        whole=whole,
                        word=verdict.word if verdict else "",
                    )
                )
    return tuple(found)


def families(lines: Sequence[Line], info: ReportInfo) -> tuple[Family, ...]:
    """Return the families that have lost a comparison."""
    found = []
    for classifier, reference, base, arms in _compared(lines, info):
        for apart in (False, True):
            family = [x for x in arms if x.arm.exclude_memorised == apart]
            shared = {x.arm: x.by_pair.keys() & base.by_pair.keys() for x in family}
            lost = tuple(x.arm for x in family if len(shared[x.arm]) < min(2, x.planned))
            if lost:
                found.append(Family(classifier, reference, len(family), lost, apart))
    return tuple(found)


def _compared(lines: Sequence[Line], info: ReportInfo) -> Iterator[tuple[str, str, Line, list[Line]]]:
    """Yield classifier, reference, the line of the reference, and the lines compared with it."""
    for classifier in info.classifiers:
        mine = [x for x in lines if x.classifier == classifier]
        for reference in REFERENCES:
            base = next((x for x in mine if x.arm == Arm(reference)), None)
            if base is not None:
                yield classifier, reference, base, [x for x in mine if x.arm.method not in ("none", reference)]


def shortfalls(rows: Rows, info: ReportInfo) -> tuple[Shortfall, ...]:
    """Return the planned stages before the classifiers that are not done in every pair."""
    planned: dict[tuple[str, str], set[Pair]] = {}
    for stage in STAGES[: STAGES.index("classify")]:
        for r in rows.all(stage):
            if r.status != "done":
                planned.setdefault((stage, r.method or ""), set()).add((r.fold or 0, r.repeat or 0))
    inside = {at: tuple(p for p in info.pairs if p in pairs) for at, pairs in planned.items()}
    return tuple(Shortfall(*at, len(info.pairs), pairs) for at, pairs in inside.items() if pairs)
