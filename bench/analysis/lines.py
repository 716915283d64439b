"""Records of the leaderboard from result rows: scores, paired comparisons, intervals, gaps. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from bench.analysis.comparison import Comparison, Scored, compared
from bench.analysis.contributions import Contributions, contributions
from bench.analysis.info import ReportInfo
from bench.analysis.intervals import patient_intervals, pooled_interval
from bench.analysis.rows import NAN, Pair, Rows, Score, one_line
from bench.cost.keys import CostKey
from bench.metrics.classification import CLASS_METRICS
from bench.metrics.units import LOWER_IS_BETTER, ScoredUnit
from bench.stats.decide import Verdict
from bench.stats.endpoints import ENDPOINTS
from bench.suite.arms import Arm
from bench.suite.contrast import NOISE
from bench.suite.suite import REFERENCES
from bench.types import ResultRow

SCORES = ("auroc", "balanced_accuracy", "f1", "sensitivity", "specificity")
METRICS = tuple(f"{prefix}{s}" for prefix in ("patient_", "") for s in (*SCORES, *LOWER_IS_BETTER))
MACRO = "mean over classes"  # key of the macro average among the scores of each class
_MACRO_OF = {"recall": "sensitivity"}  # class metric -> name of its macro average, if different


@dataclass(frozen=True)
class Gap:
    """A planned pair without a score: the stage that stopped it, its status, and the reason in one line."""

    pair: Pair
    stage: str
    status: str
    reason: str


@dataclass(frozen=True)
class Line:
    """One arm with one classifier. ``scores`` by metric name; ``values`` of every pair behind them.

    ``versus[reference][metric]`` is the paired verdict; a reference without one on the primary score is not in it.
    ``comparisons`` has all verdicts as records. Seconds are means over the pairs with a score; ``generator_s`` and
    ``synthesis_s`` are NaN for arms without a generator. ``of_classes[metric][class]`` are the one-vs-rest scores of
    each class and of ``MACRO``, per image, with more than two classes. ``device_s`` is the device time of a pair for
    all three, ``tuned_s`` the tuning cost for all pairs. ``primary`` is the metric of the verdicts, ``contributions``
    what each test group adds to it.
    """

    classifier: str
    arm: Arm
    planned: int
    scores: Mapping[str, Score]
    values: Mapping[str, Mapping[Pair, float]]
    versus: Mapping[str, Mapping[str, Verdict]]
    gaps: tuple[Gap, ...]
    generator_s: float
    synthesis_s: float
    classifier_s: float
    of_classes: Mapping[str, Mapping[str, Score]] = field(default_factory=dict)
    device_s: float = NAN
    generator_device_s: float = NAN  # of a pair: training the generator and synthesis
    tuned_s: float = 0.0
    primary: str = ScoredUnit().primary
    comparisons: tuple[Comparison, ...] = ()
    contributions: Contributions | None = field(default=None, compare=False, repr=False)

    @property
    def score(self) -> Score:
        """The primary score."""
        return self.scores[self.primary]

    @property
    def by_pair(self) -> Mapping[Pair, float]:
        """The primary score by pair."""
        return self.values[self.primary]

    def scored(self, info: ReportInfo) -> Scored:
        """Return the primary score as input of a comparison."""
        return Scored(self.by_pair, self.contributions, info.endpoint, info.unit.lower_is_better)

    def verdict(self, reference: str) -> Verdict:
        """Return the verdict on the primary score against a reference."""
        return self.versus[reference][self.primary]

    @property
    def pairs(self) -> int:
        """The number of pairs with the primary score."""
        return self.score.n

    @property
    def recalls(self) -> Mapping[str, Score]:
        """The recall of each class, per image."""
        return {c: s for c, s in self.of_classes.get("recall", {}).items() if s.n and c != MACRO}

    @property
    def charged_s(self) -> float:
        """Device seconds of the whole arm, all planned pairs and its tuning; NaN if not measured."""
        return self.planned * self.device_s + self.tuned_s

    @property
    def total_s(self) -> float:
        """Mean compute of the arm per pair: generator training, sampling and classifier training."""
        return sum(s for s in (self.generator_s, self.synthesis_s, self.classifier_s) if math.isfinite(s))


def leaderboard(rows: Rows, info: ReportInfo, root: Path, arms: Sequence[Arm] | None = None) -> tuple[Line, ...]:
    """Return one line for each arm (None: all of the suite) and classifier, in the suite's order.

    Paths of predictions are relative to ``root``. ``rows`` and ``info`` are of one size of training sets.
    """
    arms = info.arms if arms is None else arms
    keys = [(c, arm) for c in info.classifiers for arm in arms]
    done = {key: _scored(rows, info, *key) for key in keys}
    values = {key: {m: _values(found, m) for m in METRICS} for key, found in done.items()}
    scored = {key: values[key][info.unit.primary] for key in keys}
    shown = {key: {p: str(done[key][p].facts.get("predictions", "")) for p in scored[key]} for key in keys}
    tables = {key: of_line for key, of_line in shown.items() if of_line and all(of_line.values())}
    made_of = {key: contributions(of_line, root, info) for key, of_line in tables.items()}
    pooled = {key: known for key, known in made_of.items() if known}
    ends = patient_intervals({k: of for k, of in tables.items() if k not in pooled}, root, info.unit)
    found = []
    for c in info.classifiers:
        of_classifier = {arm: (values[c, arm], pooled.get((c, arm))) for arm in arms}
        made = _comparisons(info, c, of_classifier)
        for arm in arms:
            key, mine = (c, arm), tuple(x for x in made if x.arm == arm)
            line = _line(rows, info, arm, c, values[key], mine, ends.get(key, {}), pooled.get(key))
            found.append(replace(line, of_classes=_of_classes(done[key], info)))
    return tuple(found)


def _scored(rows: Rows, info: ReportInfo, classifier: str, arm: Arm) -> dict[Pair, ResultRow]:
    found = {pair: rows.classifier("evaluate", arm, classifier, pair) for pair in info.pairs}
    return {pair: row for pair, row in found.items() if row and row.status == "done"}


def _values(found: Mapping[Pair, ResultRow], metric: str) -> dict[Pair, float]:
    values = {pair: row.metrics.get(f"test/{metric}", NAN) for pair, row in found.items()}
    return {pair: v for pair, v in values.items() if math.isfinite(v)}


def _of_classes(found: Mapping[Pair, ResultRow], info: ReportInfo) -> dict[str, dict[str, Score]]:
    """Return the scores of each class by metric, the macro average first; {} for two classes."""
    scores = {}
    for metric in CLASS_METRICS:
        of = {c: Score.of(_values(found, f"{metric}_{c}").values()) for c in info.classes}
        if any(s.n for s in of.values()):
            macro = Score.of(_values(found, _MACRO_OF.get(metric, metric)).values())
            scores[metric] = {MACRO: macro} | of
    return scores


def _comparisons(
    info: ReportInfo,
    classifier: str,
    arms: Mapping[Arm, tuple[Mapping[str, Mapping[Pair, float]], Contributions | None]],
) -> list[Comparison]:
    """Return the comparisons of all arms with each reference, for every endpoint of patients and of images.

    One endpoint against one reference is one family. Arms without memorised samples, arms with selected images,
    untrained generators, and the negative control, noise, are families of their own: they do not reduce the power of
    the others.
    """
    found: list[Comparison] = []
    declared = (info.contrast.arms(info.generative)[1],) if info.contrast else ()
    for reference in dict.fromkeys((*map(Arm, REFERENCES), *declared)):
        against = reference.method
        if reference not in arms:
            continue
        for metric in dict.fromkeys((*(f"{info.unit.prefix}{e}" for e in ENDPOINTS), "balanced_accuracy")):
            endpoint = metric.removeprefix("patient_")
            pooled = metric.startswith(info.unit.prefix)
            scored = {
                arm: Scored(values[metric], c if pooled else None, endpoint, ENDPOINTS[endpoint] == "lower")
                for arm, (values, c) in arms.items()
            }
            margin = info.margin if metric in (info.unit.primary, "balanced_accuracy") else None
            families: dict[str, list[tuple[Arm, Arm]]] = {}
            for arm in (a for a in arms if a.method not in ("none", against)):
                families.setdefault(_family(arm, info), []).append((arm, reference))
            for kind, pairs in families.items():
                name = f"{metric} against {against}{kind}"
                found += compared(scored, pairs, info, metric, classifier, name, margin)
    return found


def _family(arm: Arm, info: ReportInfo) -> str:
    """Return what sets the family of an arm apart: '' for the arms that are compared with each other."""
    if arm.method == NOISE:
        return ", negative control"
    if arm.method in info.untrained:
        return ", untrained generators"
    return f", {arm.subset}" if arm.subset else ""


def paired_differences(values: Mapping[Pair, float], base: Mapping[Pair, float]) -> list[float]:
    """Return value − base of every pair that both have, in the order of pairs."""
    return [values[p] - base[p] for p in sorted(values.keys() & base.keys())]


def _line(
    rows: Rows,
    info: ReportInfo,
    arm: Arm,
    classifier: str,
    values: Mapping[str, Mapping[Pair, float]],
    comparisons: tuple[Comparison, ...],
    ends: Mapping[str, tuple[float, float]],
    pooled: Contributions | None,
) -> Line:
    scores = {m: Score.of(v.values()) for m, v in values.items()}
    scores |= {m: replace(scores[m], low=low, high=high) for m, (low, high) in ends.items()}
    if pooled:
        of = {f"{info.unit.prefix}{e}": (pooled.score(e), *pooled_interval(pooled, e, info)) for e in ENDPOINTS}
        scores |= {m: replace(scores[m], mean=mean, low=low, high=high) for m, (mean, low, high) in of.items()}
    versus: dict[str, dict[str, Verdict]] = {}
    for c in comparisons:
        versus.setdefault(c.reference.method, {})[c.metric] = c.verdict
    primary = info.unit.primary
    versus = {reference: by_metric for reference, by_metric in versus.items() if primary in by_metric}
    scored = [p for p in info.pairs if p in values[primary]]
    own = {s: [rows.generator(s, arm, p) for p in scored] for s in ("fit", arm.synthesis_stage)}
    own["classify"] = [rows.classifier("classify", arm, classifier, p) for p in scored]
    return Line(
        classifier=classifier,
        arm=arm,
        planned=len(info.pairs),
        scores=scores,
        values=values,
        versus=versus,
        gaps=tuple(_gap(rows, info, arm, classifier, p) for p in info.pairs if p not in values[primary]),
        generator_s=_mean_cost(own["fit"], CostKey.ELAPSED_S),
        synthesis_s=_mean_cost(own[arm.synthesis_stage], CostKey.ELAPSED_S),
        classifier_s=_mean_cost(own["classify"], CostKey.ELAPSED_S),
        device_s=_total(_mean_cost(found, CostKey.DEVICE_S) for found in own.values()),
        generator_device_s=_total(_mean_cost(own[s], CostKey.DEVICE_S) for s in ("fit", arm.synthesis_stage)),
        tuned_s=info.tuned_s.get(arm.method, {}).get(classifier, 0.0),
        primary=primary,
        comparisons=comparisons,
        contributions=pooled,
    )


def _mean_cost(rows: Iterable[ResultRow | None], name: str) -> float:
    return Score.of(r.costs.get(name, NAN) for r in rows if r and r.status == "done").mean


def _total(parts: Iterable[float]) -> float:
    known = [s for s in parts if math.isfinite(s)]
    return sum(known) if known else NAN


def _gap(rows: Rows, info: ReportInfo, arm: Arm, classifier: str, pair: Pair) -> Gap:
    """Return why a pair has no score: the first stage that is not done."""
    of_generator = ("fit", arm.synthesis_stage) if arm.method in info.generative else ()
    chain = {s: rows.generator(s, arm, pair) for s in of_generator}
    chain |= {s: rows.classifier(s, arm, classifier, pair) for s in ("classify", "evaluate")}
    for name, row in chain.items():
        if row is None or row.status != "done":
            status = row.status if row else "missing"
            return Gap(pair, name, status, one_line(row.error) if row and row.error else "not run yet")
    return Gap(pair, "evaluate", "done", "the score is not defined on this test part")


def minimum_detectable_effect(line: Line, reference: str = "none") -> float:
    """Return the minimum detectable effect (80 % power) of the line, in [0, 1]; NaN without spread."""
    if reference not in line.versus:
        return NAN
    v = line.verdict(reference)
    return v.minimum_detectable_effect if math.isfinite(v.low) else NAN


def typical_minimum_detectable_effect(lines: Iterable[Line]) -> float:
    """Return the median of the lines' minimum detectable effects; NaN if all are unknown."""
    finite = [e for e in map(minimum_detectable_effect, lines) if math.isfinite(e)]
    return float(np.median(finite)) if finite else NAN
