"""The research questions: effect of transfer learning, its cost, and comparison with other generators. Pure.

``ReportInfo.roles`` defines which methods are compared. Everything is paired over fold × repeat and tested as in
``differences``; costs are ratios, with a plain paired t test of their logarithms. Every transfer arm is compared with
every other generator with one correction over all, because selecting the best first would use the test part.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from bench.analysis.comparison import ALPHA, Comparison, Scored, compared
from bench.analysis.differences import (
    DIRECTION,
    KID,
    Difference,
    Kind,
    Values,
    accuracies,
    compare,
    stage_values,
    training_seconds,
)
from bench.analysis.info import OtherFinding, ReportInfo
from bench.analysis.lines import Line
from bench.analysis.rows import NAN, Pair, Rows, Score, one_line
from bench.cost.keys import STEP_DEVICE_S, CostKey
from bench.stats.inference import holm
from bench.suite.arms import Arm
from bench.types import ResultRow

Name = Literal["transfer", "cost", "modalities", "others"]
Cost = Literal["training", "step", "memory", "flops", "parameters"]
VARIETY: tuple[Kind, ...] = ("diversity", "recall", "coverage", "memorised")
COMPARED_ACROSS_DATASETS: tuple[Kind, ...] = ("kid", "accuracy")  # measures read from reports on other data sets
COUNTED: tuple[Cost, ...] = ("flops", "parameters")  # fixed by the networks: equal in all folds
STAGES: dict[Kind, tuple[str, str]] = {  # (stage, prefix of the metric), without measures read elsewhere
    "kid": ("fidelity", KID),
    "diversity": ("fidelity", "synthetic/diversity_"),
    "recall": ("fidelity", "synthetic/test/recall_"),
    "coverage": ("fidelity", "synthetic/test/coverage_"),
    "memorised": ("memorised", "memorised/flagged_share"),
}


@dataclass(frozen=True)
class Finding:
    """A paired difference that answers a question.

    ``minimum_detectable`` is the minimum detectable effect (80 % power) at the level that decides it, in the unit of
    the measure; NaN without spread.
    """

    difference: Difference
    minimum_detectable: float


@dataclass(frozen=True)
class CostRatio:
    """Cost of a method in one resource relative to the plain one: geometric mean of the ratios over pairs.

    ``value`` and ``base`` are means (device seconds, bytes, operations, numbers). A measured resource is tested:
    ``comparison`` is that of the logarithms, ``low``, ``high`` the 95 % interval of ``ratio``, and ``word`` is 'lower',
    'higher' or 'undecided'. A counted resource is described only: no comparison, NaN, and 'lower', 'higher' or 'equal'.
    """

    kind: Cost
    method: str
    plain: str
    value: float
    base: float
    ratio: float
    word: str
    pairs: int
    low: float = NAN
    high: float = NAN
    p_adjusted: float = NAN
    comparison: Comparison | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Lack:
    """The first stage of ``method`` that is not done in ``pairs``, and the reason."""

    method: str
    stage: str
    status: str
    reason: str
    pairs: tuple[Pair, ...]


@dataclass(frozen=True)
class Question:
    """One question with its results and missing cells; no ``findings``, ``costs`` or ``other_findings``: no answer.

    ``decided`` findings are higher, lower, helps or hurts; ``overall`` of them remain decided with Holm's correction
    over all findings instead of one for each measure. ``real_baseline`` is that of KID (mean),
    ``steps`` the training steps of each method.
    """

    name: Name
    findings: tuple[Finding, ...] = ()
    costs: tuple[CostRatio, ...] = ()
    other_findings: tuple[OtherFinding, ...] = ()
    lacks: tuple[Lack, ...] = ()
    decided: int = 0
    overall: int = 0
    real_baseline: float = NAN
    steps: Mapping[str, int] = field(default_factory=dict)


def questions(lines: Sequence[Line], rows: Rows, info: ReportInfo) -> tuple[Question, ...]:
    """Return the four questions in order; () if the roles of the methods are unknown."""
    roles = info.roles
    if roles is None:
        return ()
    rivals = [(a, b) for b in roles.others for a in roles.transfer]
    couples: dict[Name, Sequence[tuple[str, str]]] = {
        "transfer": roles.ablation_pairs,
        "cost": tuple((c.method, c.plain) for c in roles.counterparts),
        "others": rivals,
    }
    ablation_pairs = _findings("transfer", ("kid", *VARIETY, "accuracy"), roles.ablation_pairs, lines, rows, info)
    others = _findings("others", ("kid", *VARIETY, "accuracy", "training"), rivals, lines, rows, info)
    found: dict[Name, Question] = {
        "transfer": Question("transfer", ablation_pairs),
        "cost": Question("cost", costs=_ratios(couples["cost"], rows, info)),
        "modalities": Question(
            "modalities",
            tuple(f for f in ablation_pairs if f.difference.kind in COMPARED_ACROSS_DATASETS),
            other_findings=info.other_findings,
        ),
        "others": Question("others", others),
    }
    for name, both in couples.items():
        stages = ("fit",) if name == "cost" else ("fit", "synthesize", "fidelity", "memorised")
        lacks = _lacks(_each(both), () if name == "cost" else lines, rows, info, stages)
        steps = training_steps(_each(both), rows, info)
        decided, overall = _decided(found[name].findings)
        found[name] = replace(found[name], decided=decided, overall=overall)
        found[name] = replace(found[name], lacks=lacks, real_baseline=_real_baseline(rows, info), steps=steps)
    return tuple(found.values())


def _each(couples: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(method for couple in couples for method in couple))


def _decided(found: Sequence[Finding]) -> tuple[int, int]:
    words = [f.difference.word in ("higher", "lower", "helps", "hurts") for f in found]
    corrected = holm([f.difference.p for f in found])
    return sum(words), sum(bool(word and p < ALPHA) for word, p in zip(words, corrected, strict=True))


def _real_baseline(rows: Rows, info: ReportInfo) -> float:
    """Return the real-vs-real baseline of KID, mean over methods and pairs."""
    found = [by_arm for _, by_arm in stage_values(rows, info, "fidelity", "real_baseline/test/kid_")]
    return Score.of(v for by_arm in found for s in by_arm.values() for v in s.by_pair.values()).mean


def training_steps(methods: Sequence[str], rows: Rows, info: ReportInfo) -> dict[str, int]:
    """Return the training steps of each method, if known."""
    rows_of = {m: rows.done("fit", m, info.pairs) for m in methods}
    found = {m: {r.facts.get("steps") or r.costs.get(CostKey.STEPS) for r in of} for m, of in rows_of.items()}
    return {m: int(min(steps)) for m, of in found.items() if (steps := [s for s in of if s])}


def _findings(
    name: Name,
    kinds: Sequence[Kind],
    couples: Sequence[tuple[str, str]],
    lines: Sequence[Line],
    rows: Rows,
    info: ReportInfo,
) -> tuple[Finding, ...]:
    """Return the differences of each couple of methods for a question, measure by measure."""
    found: list[Difference] = []
    for kind in kinds if couples else ():
        for metric, classifier, values in _measures(kind, lines, rows, info):
            ratios = [r for r in info.ratios if not Arm.parse("", r).subset] if classifier else [Arm("").variant]
            against = [(Arm.parse(a, r), b) for a, b in couples for r in ratios]
            found += compare(kind, metric, classifier, values, against, info, f"question '{name}'")
    return tuple(Finding(d, d.minimum_detectable_effect) for d in found)


def _measures(kind: Kind, lines: Sequence[Line], rows: Rows, info: ReportInfo) -> Iterator[tuple[str, str, Values]]:
    if kind == "accuracy":
        yield from ((info.unit.primary, c, accuracies(lines, c, info)) for c in info.classifiers)
    elif kind in STAGES:
        yield from ((metric, "", values) for metric, values in stage_values(rows, info, *STAGES[kind]))
    else:
        yield from ((metric, "", values) for k, metric, values in training_seconds(rows, info) if k == kind)


def _ratios(couples: Sequence[tuple[str, str]], rows: Rows, info: ReportInfo) -> tuple[CostRatio, ...]:
    found: list[CostRatio] = []
    for kind in ("training", "step", "memory", "flops", "parameters"):
        taken = {m: _by_pair(kind, m, rows, info) for m in _each(couples)}
        logs = {Arm(m): Scored({p: math.log(cost) for p, cost in of.items()}) for m, of in taken.items()}
        against = [(Arm(a), Arm(b)) for a, b in couples]
        for c in compared(logs, against, info, f"fit/{kind}", "", f"fit/{kind}, question 'cost'", plain=True):
            a, b = (taken[x.method] for x in (c.arm, c.reference))
            both = [(a[p], b[p]) for p in sorted(a.keys() & b.keys())]
            value, base = (Score.of(column).mean for column in zip(*both, strict=True))
            v, methods = c.verdict, (c.arm.method, c.reference.method)
            word = "equal" if abs(v.difference) < 1e-12 else "higher" if v.difference > 0 else "lower"
            ratio = CostRatio(kind, *methods, value, base, math.exp(v.difference), word, len(both))
            if kind not in COUNTED:
                low, high, word = math.exp(v.low), math.exp(v.high), DIRECTION.get(v.word, "undecided")
                ratio = replace(ratio, low=low, high=high, p_adjusted=v.p_adjusted, word=word, comparison=c)
            found.append(ratio)
    return tuple(found)


def _by_pair(kind: Cost, method: str, rows: Rows, info: ReportInfo) -> dict[Pair, float]:
    """Return the cost of a method in a resource, for the pairs in which it is known."""
    costs = {pair: _taken(kind, rows.generator("fit", Arm(method), pair)) for pair in info.pairs}
    return {pair: cost for pair, cost in costs.items() if cost > 0}


def _taken(kind: Cost, row: ResultRow | None) -> float:
    if row is None or row.status != "done":
        return NAN
    if kind == "step":
        return row.costs.get(STEP_DEVICE_S, NAN) / float(row.facts.get("steps") or row.costs.get(CostKey.STEPS) or NAN)
    if kind == "parameters":
        return float(row.facts.get("parameters") or row.costs.get(CostKey.PARAMETERS) or NAN)
    keys = {"training": CostKey.DEVICE_S, "memory": CostKey.PEAK_MEMORY_BYTES, "flops": CostKey.FLOPS_PER_STEP}
    return row.costs.get(keys[kind], NAN)


def _lacks(
    methods: Sequence[str],
    lines: Sequence[Line],
    rows: Rows,
    info: ReportInfo,
    stages: Sequence[str],
) -> tuple[Lack, ...]:
    """Return what is not done for the methods: the first such stage, then the gaps of their classifiers."""
    found: dict[tuple[str, str, str, str], list[Pair]] = {}
    for method in methods:
        for pair in info.pairs:
            for stage in stages:
                row = rows.generator(stage, Arm(method), pair)
                if row is None or row.status != "done":
                    at = (method, stage, row.status if row else "missing", one_line(row.error or "") if row else "")
                    found.setdefault(at, []).append(pair)
                    if stage in ("fit", "synthesize"):  # later stages cannot be done
                        break
        for gap in (g for x in lines if x.arm.method == method for g in x.gaps if g.stage in ("classify", "evaluate")):
            pairs = found.setdefault((method, gap.stage, gap.status, gap.reason), [])
            pairs += [gap.pair] * (gap.pair not in pairs)
    return tuple(Lack(*at, tuple(pairs)) for at, pairs in found.items())
