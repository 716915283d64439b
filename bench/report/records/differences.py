"""What each generative arm changes against the suite's reference arm: realism, accuracy, time; paired. Pure.

Accuracy is judged as everywhere in the report (``bench.metrics.statistics.verdicts``). KID and times are
of a generator, not scores of a classifier on few patients: there a plain paired t test (Student 1908), with Holm's
correction as well.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from bench.metrics.statistics import corrected_resampled_t, holm, verdicts
from bench.report.info import Arm, ReportInfo
from bench.report.records.lines import PRIMARY, Line
from bench.report.records.rows import NAN, Pair, Rows, Score
from bench.types import ResultRow

Kind = Literal["kid", "accuracy", "training", "step"]
Values = Mapping[Arm, Mapping[Pair, float]]
KID = "synthetic/test/kid_"  # an extractor's tag follows
SUBSET = f"{KID}subset_size_"
ALPHA = 0.05


class Judged(NamedTuple):
    """What a test says of paired differences: see ``Difference``."""

    low: float
    high: float
    p: float
    p_holm: float
    word: str


@dataclass(frozen=True)
class Difference:
    """One measure of an arm, minus that of the reference, over the pairs that both have.

    ``metric`` is its name in the store, after its stage for what is measured of a generator; there ``classifier`` is
    ''. ``value`` and ``base`` are the means of arm and reference, ``mean`` that of the differences, ``low`` and
    ``high`` its 95 % interval (NaN where it cannot be told), ``p_holm`` corrected over the arms with this measure.
    ``word`` is a verdict's for accuracy, else 'lower', 'higher' or 'undecided'. Accuracy is a share in [0, 1], training
    and a step are device seconds (``bench.cost.timers``), which other work on the machine disturbs less than wall time.
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

    @property
    def share(self) -> float:
        """The difference as a share of the reference; NaN without one."""
        return self.mean / self.base if self.base else NAN


def differences(lines: Sequence[Line], rows: Rows, info: ReportInfo) -> tuple[Difference, ...]:
    """Return a record for each measure and arm, measure by measure, arms in the suite's order; () without reference."""
    if info.reference is None:
        return ()
    found: list[Difference] = []
    for kind, metric, classifier, values in _measures(lines, rows, info):
        found += _family(kind, metric, classifier, values, info)
    return tuple(found)


def _measures(lines: Sequence[Line], rows: Rows, info: ReportInfo) -> Iterator[tuple[Kind, str, str, Values]]:
    fidelity = {(m, p): r.metrics for m, p, r in _done(rows, info, "fidelity")}
    names = {k for metrics in fidelity.values() for k in metrics if k.startswith(KID)}
    for name in sorted(k for k in names if not k.startswith(SUBSET)):
        yield "kid", f"fidelity/{name}", "", _by_arm({at: metrics.get(name, NAN) for at, metrics in fidelity.items()})
    for classifier in info.classifiers:
        mine = [x for x in lines if x.classifier == classifier and x.arm.method in info.generative]
        values = {x.arm: x.values[PRIMARY] for x in mine if not x.arm.without_copies}
        yield "accuracy", PRIMARY, classifier, values
    fits = list(_done(rows, info, "fit"))
    yield "training", "fit/device_s", "", _by_arm({(m, p): r.costs.get("device_s", NAN) for m, p, r in fits})
    steps = {(m, p): r.costs.get("step_device_s", NAN) / float(r.facts.get("steps") or NAN) for m, p, r in fits}
    yield "step", "fit/device_s_per_step", "", _by_arm(steps)


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


def _family(kind: Kind, metric: str, classifier: str, values: Values, info: ReportInfo) -> list[Difference]:
    """Return the differences of all arms in one measure, corrected together."""
    shared: dict[Arm, tuple[list[float], list[float]]] = {}
    for arm, mine in values.items():
        base = values.get(Arm(str(info.reference), arm.ratio), {})
        pairs = sorted(mine.keys() & base.keys())
        if arm.method != info.reference and pairs:
            shared[arm] = [mine[p] for p in pairs], [base[p] for p in pairs]
    changes = {arm: [a - b for a, b in zip(*both, strict=True)] for arm, both in shared.items()}
    judged = _as_scores(changes, info) if kind == "accuracy" else _as_such(changes)
    found = []
    for arm, both in shared.items():
        value, usual, mean = (Score.of(x).mean for x in (*both, changes[arm]))
        low, high, p, p_holm, word = judged[arm]
        at = (kind, metric, classifier, arm, str(info.reference))
        found.append(Difference(*at, value, usual, mean, low, high, p, p_holm, word, len(changes[arm])))
    return found


def _as_scores(changes: Mapping[Arm, list[float]], info: ReportInfo) -> dict[Arm, Judged]:
    found = verdicts({arm.label: change for arm, change in changes.items()}, info.margin, info.test_train_ratio)
    of = {arm: found[arm.label] for arm in changes}
    return {arm: Judged(v.low, v.high, v.p, v.p_holm, v.word) for arm, v in of.items()}


def _as_such(changes: Mapping[Arm, list[float]]) -> dict[Arm, Judged]:
    """Plain paired t tests: the corrected one at a ratio of 0."""
    tests = {arm: corrected_resampled_t(change, 0.0, ALPHA) for arm, change in changes.items()}
    corrected = holm([t.p for t in tests.values()])
    found = {}
    for (arm, t), p_holm in zip(tests.items(), corrected, strict=True):
        word = ("higher" if t.t > 0 else "lower") if p_holm < ALPHA else "undecided"
        found[arm] = Judged(t.low, t.high, t.p, float(p_holm), word)
    return found
