"""Paired differences of each generative arm to another one, usually the reference of the suite. Pure.

All are tested as the verdicts are (``bench.analysis.comparison``), image quality as strictly as scores. Times depend on
the machine and not on patients: they use a plain paired t test (Student 1908).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from bench.analysis.comparison import Comparison, Scored, compared
from bench.analysis.info import ReportInfo
from bench.analysis.lines import Line
from bench.analysis.rows import NAN, Pair, Rows, Score
from bench.cost.keys import STEP_DEVICE_S, CostKey
from bench.suite.arms import Arm
from bench.types import ResultRow

Kind = Literal["kid", "diversity", "recall", "coverage", "memorised", "accuracy", "training", "step"]
Values = Mapping[Arm, Scored]
KID = "synthetic/test/kid_"  # an extractor's tag follows
SUBSET = "kid_subset_size_"
TIMES: tuple[Kind, ...] = ("training", "step")
DIRECTION = {"helps": "higher", "hurts": "lower"}  # of a measure that is not a score


@dataclass(frozen=True)
class Difference:
    """One measure of an arm, minus that of the reference, over the pairs that both have.

    ``metric`` is its name in the store; for metrics of a generator it starts with the stage, and ``classifier`` is ''.
    ``value`` and ``base`` are the means of arm and reference, ``mean`` that of the differences, ``low``, ``high`` its
    95 % interval (NaN if unknown), ``p_adjusted`` is corrected by Holm over ``family``. ``word`` is a verdict for
    accuracy, else 'lower', 'higher' or 'undecided'. Accuracy is a share in [0, 1]. Training and step are in device
    seconds (``bench.cost.timers``), which depend less on other load of the machine than wall time.
    """

    kind: Kind
    metric: str
    classifier: str
    arm: Arm
    reference: str
    value: float
    base: float
    mean: float
    low: float
    high: float
    p: float
    p_adjusted: float
    word: str
    pairs: int
    minimum_detectable_effect: float = NAN  # at the level that decides the word
    test: str = ""
    family: str = ""
    level: float = NAN
    dof: float = NAN
    comparison: Comparison = field(kw_only=True, repr=False)

    @property
    def share(self) -> float:
        """The difference as a share of the reference; NaN without one."""
        return self.mean / self.base if self.base else NAN


def differences(lines: Sequence[Line], rows: Rows, info: ReportInfo) -> tuple[Difference, ...]:
    """Return a record for each measure and arm, measure by measure, arms in the suite's order; () without a
    reference."""
    if info.reference is None:
        return ()
    found: list[Difference] = []
    for kind, metric, classifier, values in _measures(lines, rows, info):
        against = [(arm, info.reference) for arm in values if arm.method != info.reference]
        found += compare(kind, metric, classifier, values, against, info, f"against {info.reference}")
    return tuple(found)


def _measures(lines: Sequence[Line], rows: Rows, info: ReportInfo) -> Iterator[tuple[Kind, str, str, Values]]:
    for metric, values in stage_values(rows, info, "fidelity", KID):
        yield "kid", metric, "", values
    for classifier in info.classifiers:
        yield "accuracy", info.unit.primary, classifier, accuracies(lines, classifier, info)
    for kind, metric, values in training_seconds(rows, info):
        yield kind, metric, "", values


def stage_values(rows: Rows, info: ReportInfo, stage: str, prefix: str) -> Iterator[tuple[str, Values]]:
    """Yield name and values of each metric of a generator stage that starts with ``prefix``; names start with the
    stage."""
    done = {(m, p): r.metrics for m, p, r in _done(rows, info, stage)}
    names = {k for metrics in done.values() for k in metrics if k.startswith(prefix) and SUBSET not in k}
    for name in sorted(names):
        metric = name if name.startswith(f"{stage}/") else f"{stage}/{name}"
        yield metric, _by_arm({at: metrics.get(name, NAN) for at, metrics in done.items()})


def accuracies(lines: Sequence[Line], classifier: str, info: ReportInfo) -> Values:
    """Return the primary score of the trained generative arms with one classifier, if they have all of their images."""
    trained = [m for m in info.generative if m not in info.untrained]
    kept = [x for x in lines if x.classifier == classifier and x.arm.method in trained and not x.arm.subset]
    return {x.arm: x.scored(info) for x in kept}


def training_seconds(rows: Rows, info: ReportInfo) -> Iterator[tuple[Kind, str, Values]]:
    """Yield the device seconds of each training of a generator, and of one step."""
    fits = list(_done(rows, info, "fit"))
    yield "training", "fit/device_s", _by_arm({(m, p): r.costs.get(CostKey.DEVICE_S, NAN) for m, p, r in fits})
    steps = {(m, p): r.costs.get(STEP_DEVICE_S, NAN) / float(r.facts.get("steps") or NAN) for m, p, r in fits}
    yield "step", "fit/device_s_per_step", _by_arm(steps)


def _done(rows: Rows, info: ReportInfo, stage: str) -> Iterator[tuple[str, Pair, ResultRow]]:
    for method in info.generative:
        for pair in info.pairs:
            row = rows.generator(stage, Arm(method), pair)
            if row and row.status == "done":
                yield method, pair, row


def _by_arm(values: Mapping[tuple[str, Pair], float]) -> dict[Arm, Scored]:
    found: dict[Arm, dict[Pair, float]] = {}
    for (method, pair), value in values.items():
        if math.isfinite(value):
            found.setdefault(Arm(method), {})[pair] = value
    return {arm: Scored(by_pair) for arm, by_pair in found.items()}


def compare(
    kind: Kind,
    metric: str,
    classifier: str,
    values: Values,
    against: Iterable[tuple[Arm, str]],
    info: ReportInfo,
    claim: str,
) -> list[Difference]:
    """Return the differences in one measure of each arm to the method named with it, at the arm's own ratio.

    They are one family, named by measure and ``claim``. Arms without a shared pair are omitted.
    """
    pairs = [(arm, replace(arm, method=reference)) for arm, reference in against]
    named = f"{metric}, {claim}"
    margin = info.margin if kind == "accuracy" else None
    found = []
    for c in compared(values, pairs, info, metric, classifier, named, margin, plain=kind in TIMES):
        mine, base = values[c.arm], values[c.reference]
        shared = sorted(mine.by_pair.keys() & base.by_pair.keys())
        value, usual = (Score.of(s.by_pair[p] for p in shared).mean for s in (mine, base))
        v = c.verdict
        word = v.word if kind == "accuracy" else DIRECTION.get(v.word, "undecided")
        found.append(
            Difference(
                kind,
                metric,
                classifier,
                c.arm,
                c.reference.method,
                value=value,
                base=usual,
                mean=v.difference,
                low=v.low,
                high=v.high,
                p=v.p,
                p_adjusted=v.p_adjusted,
                word=word,
                pairs=len(shared),
                minimum_detectable_effect=v.minimum_detectable_effect,
                test=v.test,
                family=v.family,
                level=v.level,
                dof=v.dof,
                comparison=c,
            )
        )
    return found
