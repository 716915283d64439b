"""Paired differences of each generative arm to another one, usually the reference of the suite. Pure.

Accuracy is tested as everywhere in the report (``bench.stats.inference.verdicts``). KID and times belong to a
generator and are not scores of a classifier on few patients: they use a plain paired t test (Student 1908), also with
Holm's correction.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from bench.analysis.info import ReportInfo
from bench.analysis.lines import Line
from bench.analysis.rows import NAN, Pair, Rows, Score
from bench.stats.inference import corrected_resampled_t, holm, verdicts
from bench.suite.arms import Arm
from bench.types import ResultRow

Kind = Literal["kid", "diversity", "recall", "coverage", "memorised", "accuracy", "training", "step"]
Values = Mapping[Arm, Mapping[Pair, float]]
KID = "synthetic/test/kid_"  # an extractor's tag follows
SUBSET = "kid_subset_size_"
ALPHA = 0.05


class TestedChange(NamedTuple):
    """Result of a test on paired differences; fields as in ``Difference``."""

    low: float
    high: float
    p: float
    p_holm: float
    word: str


@dataclass(frozen=True)
class Difference:
    """One measure of an arm, minus that of the reference, over the pairs that both have.

    ``metric`` is its name in the store; for metrics of a generator it starts with the stage, and ``classifier`` is ''.
    ``value`` and ``base`` are the means of arm and reference, ``mean`` that of the differences, ``low``, ``high`` its
    95 % interval (NaN if unknown), ``p_holm`` is corrected over the arms with this measure. ``word`` is a verdict for
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
    p_holm: float
    word: str
    pairs: int
    sd: float = NAN  # of the differences

    @property
    def share(self) -> float:
        """The difference as a share of the reference; NaN without one."""
        return self.mean / self.base if self.base else NAN


def differences(lines: Sequence[Line], rows: Rows, info: ReportInfo) -> tuple[Difference, ...]:
    """Return a record for each measure and arm, measure by measure, arms in the suite's order; () without a "
    "reference."""
    if info.reference is None:
        return ()
    found: list[Difference] = []
    for kind, metric, classifier, values in _measures(lines, rows, info):
        against = [(arm, info.reference) for arm in values if arm.method != info.reference]
        found += compare(kind, metric, classifier, values, against, info)
    return tuple(found)


def _measures(lines: Sequence[Line], rows: Rows, info: ReportInfo) -> Iterator[tuple[Kind, str, str, Values]]:
    for metric, values in stage_values(rows, info, "fidelity", KID):
        yield "kid", metric, "", values
    for classifier in info.classifiers:
        yield "accuracy", info.unit.primary, classifier, accuracies(lines, classifier, info)
    for kind, metric, values in training_seconds(rows, info):
        yield kind, metric, "", values


def stage_values(rows: Rows, info: ReportInfo, stage: str, prefix: str) -> Iterator[tuple[str, Values]]:
    """Yield name and values of each metric of a generator stage that starts with ``prefix``; names start with the "
    "stage."""
    done = {(m, p): r.metrics for m, p, r in _done(rows, info, stage)}
    names = {k for metrics in done.values() for k in metrics if k.startswith(prefix) and SUBSET not in k}
    for name in sorted(names):
        metric = name if name.startswith(f"{stage}/") else f"{stage}/{name}"
        yield metric, _by_arm({at: metrics.get(name, NAN) for at, metrics in done.items()})


def accuracies(lines: Sequence[Line], classifier: str, info: ReportInfo) -> Values:
    """Return the primary score of the generative arms with one classifier, except those without memorised samples."""
    mine = [x for x in lines if x.classifier == classifier and x.arm.method in info.generative]
    return {x.arm: x.by_pair for x in mine if not x.arm.exclude_memorised}


def training_seconds(rows: Rows, info: ReportInfo) -> Iterator[tuple[Kind, str, Values]]:
    """Yield the device seconds of each training of a generator, and of one step."""
    fits = list(_done(rows, info, "fit"))
    yield "training", "fit/device_s", _by_arm({(m, p): r.costs.get("device_s", NAN) for m, p, r in fits})
    steps = {(m, p): r.costs.get("step_device_s", NAN) / float(r.facts.get("steps") or NAN) for m, p, r in fits}
    yield "step", "fit/device_s_per_step", _by_arm(steps)


def _done(rows: Rows, info: ReportInfo, stage: str) -> Iterator[tuple[str, Pair, ResultRow]]:
    for method in info.generative:
        for pair in info.pairs:
            row = rows.generator(stage, Arm(method), pair)
            if row and row.status == "done":
                yield method, pair, row


def _by_arm(values: Mapping[tuple[str, Pair], float]) -> dict[Arm, dict[Pair, float]]:
    found: dict[Arm, dict[Pair, float]] = {}
    for (method, pair), value in values.items():
        if math.isfinite(value):
            found.setdefault(Arm(method), {})[pair] = value
    return found


def compare(
    kind: Kind, metric: str, classifier: str, values: Values, against: Iterable[tuple[Arm, str]], info: ReportInfo
) -> list[Difference]:
    """Return the differences in one measure of each arm to the method named with it, at the arm's own ratio.

    Holm's correction runs over all of them. Arms without a shared pair are omitted.
    """
    shared: dict[tuple[Arm, str], tuple[list[float], list[float]]] = {}
    for arm, reference in against:
        mine, base = values.get(arm, {}), values.get(replace(arm, method=reference), {})
        pairs = sorted(mine.keys() & base.keys())
        if pairs:
            shared[arm, reference] = [mine[p] for p in pairs], [base[p] for p in pairs]
    changes = {at: [a - b for a, b in zip(*both, strict=True)] for at, both in shared.items()}
    tested = _as_scores(changes, info) if kind == "accuracy" else _as_such(changes)
    found = []
    for (arm, reference), both in shared.items():
        change = Score.of(changes[arm, reference])
        value, usual = (Score.of(x).mean for x in both)
        low, high, p, p_holm, word = tested[arm, reference]
        at = (kind, metric, classifier, arm, reference)
        found.append(Difference(*at, value, usual, change.mean, low, high, p, p_holm, word, change.n, change.sd))
    return found


Changes = Mapping[tuple[Arm, str], list[float]]


def _as_scores(changes: Changes, info: ReportInfo) -> dict[tuple[Arm, str], TestedChange]:
    names = {at: f"{at[0].label} - {at[1]}" for at in changes}
    found = verdicts({names[at]: change for at, change in changes.items()}, info.margin, info.test_train_ratio)
    of = {at: found[name] for at, name in names.items()}
    return {at: TestedChange(v.low, v.high, v.p, v.p_holm, v.word) for at, v in of.items()}


def _as_such(changes: Changes) -> dict[tuple[Arm, str], TestedChange]:
    """Return plain paired t tests: the corrected test with a ratio of 0."""
    tests = {at: corrected_resampled_t(change, 0.0, ALPHA) for at, change in changes.items()}
    corrected = holm([t.p for t in tests.values()])
    found = {}
    for (at, t), p_holm in zip(tests.items(), corrected, strict=True):
        word = ("higher" if t.t > 0 else "lower") if p_holm < ALPHA else "undecided"
        found[at] = TestedChange(t.low, t.high, t.p, float(p_holm), word)
    return found
