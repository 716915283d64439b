"""Records of the leaderboard from result rows: scores, paired comparisons, intervals, gaps. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path

import numpy as np

from bench.analysis.info import ReportInfo
from bench.analysis.intervals import patient_intervals
from bench.analysis.rows import NAN, Pair, Rows, Score, one_line
from bench.metrics.classification import CLASS_METRICS
from bench.metrics.units import ScoredUnit
from bench.stats.inference import Verdict, verdicts
from bench.suite.arms import Arm
from bench.suite.suite import REFERENCES
from bench.types import ResultRow

SCORES = ("balanced_accuracy", "auroc", "f1", "sensitivity", "specificity")
PRIMARY = ScoredUnit().primary  # metric of the verdicts, if no group has images of several classes
COMPARED = (PRIMARY, "balanced_accuracy")
METRICS = tuple(f"patient_{s}" for s in SCORES) + SCORES
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

    ``versus[reference][metric]`` is the paired verdict. Seconds are means over the pairs with a score; ``generator_s``
    and ``synthesis_s`` are NaN for arms without a generator. ``of_classes[metric][class]`` are the one-vs-rest scores
    of each class and of ``MACRO``, per image, with more than two classes. ``device_s`` is the device time of a pair for
    all three, ``tuned_s`` the tuning cost for all pairs. ``primary`` is the metric of the verdicts.
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
    tuned_s: float = 0.0
    primary: str = PRIMARY

    @property
    def score(self) -> Score:
        """The primary score."""
        return self.scores[self.primary]

    @property
    def by_pair(self) -> Mapping[Pair, float]:
        """The primary score by pair."""
        return self.values[self.primary]

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

    Paths of predictions are relative to ``root``.
    """
    arms = info.arms if arms is None else arms
    keys = [(c, arm) for c in info.classifiers for arm in arms]
    done = {key: _scored(rows, info, *key) for key in keys}
    values = {key: {m: _values(found, m) for m in METRICS} for key, found in done.items()}
    versus = {c: _comparisons(info, {arm: values[c, arm] for arm in arms}) for c in info.classifiers}
    scored = {key: values[key][info.unit.primary] for key in keys}
    shown = {key: {p: str(done[key][p].facts.get("predictions", "")) for p in scored[key]} for key in keys}
    tables = {key: of_line for key, of_line in shown.items() if all(of_line.values())}  # synthetic results have none
    ends = patient_intervals(tables, root, info.unit)
    return tuple(
        _line(
            rows,
            info,
            arm,
            c,
            values[c, arm],
            versus[c].get(arm, {}),
            ends.get((c, arm), {}),
            _of_classes(done[c, arm], info),
        )
        for c, arm in keys
    )


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
    info: ReportInfo, values: Mapping[Arm, Mapping[str, Mapping[Pair, float]]]
) -> dict[Arm, dict[str, dict[str, Verdict]]]:
    """Return arm -> reference -> metric -> verdict. Holm's correction runs over all arms with one classifier.

    Arms without memorised samples are a separate family, so that they do not reduce the power of the other arms.
    """
    found: dict[Arm, dict[str, dict[str, Verdict]]] = {}
    families = [[a for a in values if a.exclude_memorised == apart] for apart in (False, True)]
    for reference in (r for r in REFERENCES if Arm(r) in values):
        base = values[Arm(reference)]
        for metric, family in product(COMPARED, families):
            differences = {a: paired_differences(values[a][metric], base[metric]) for a in family}
            named = {a: d for a, d in differences.items() if d and a.method not in ("none", reference)}
            found_verdicts = verdicts({a.label: d for a, d in named.items()}, info.margin, info.test_train_ratio)
            for arm in named:
                found.setdefault(arm, {}).setdefault(reference, {})[metric] = found_verdicts[arm.label]
    return found


def paired_differences(values: Mapping[Pair, float], base: Mapping[Pair, float]) -> list[float]:
    """Return value − base of every pair that both have, in the order of pairs."""
    return [values[p] - base[p] for p in sorted(values.keys() & base.keys())]


def _line(
    rows: Rows,
    info: ReportInfo,
    arm: Arm,
    classifier: str,
    values: Mapping[str, Mapping[Pair, float]],
    versus: Mapping[str, Mapping[str, Verdict]],
    ends: Mapping[str, tuple[float, float]],
    of_classes: Mapping[str, Mapping[str, Score]],
) -> Line:
    scores = {m: Score.of(v.values()) for m, v in values.items()}
    scores |= {m: replace(scores[m], low=low, high=high) for m, (low, high) in ends.items()}
    primary = info.unit.primary
    scored = [p for p in info.pairs if p in values[primary]]
    own = {s: [rows.generator(s, arm, p) for p in scored] for s in ("fit", "synthesize")}
    own["classify"] = [rows.classifier("classify", arm, classifier, p) for p in scored]
    return Line(
        classifier=classifier,
        arm=arm,
        planned=len(info.pairs),
        scores=scores,
        values=values,
        versus=versus,
        gaps=tuple(_gap(rows, info, arm, classifier, p) for p in info.pairs if p not in values[primary]),
        generator_s=_mean_cost(own["fit"], "elapsed_s"),
        synthesis_s=_mean_cost(own["synthesize"], "elapsed_s"),
        classifier_s=_mean_cost(own["classify"], "elapsed_s"),
        of_classes=of_classes,
        device_s=_total(_mean_cost(found, "device_s") for found in own.values()),
        tuned_s=info.tuned_s.get(arm.method, {}).get(classifier, 0.0),
        primary=primary,
    )


def _mean_cost(rows: Iterable[ResultRow | None], name: str) -> float:
    return Score.of(r.costs.get(name, NAN) for r in rows if r and r.status == "done").mean


def _total(parts: Iterable[float]) -> float:
    known = [s for s in parts if math.isfinite(s)]
    return sum(known) if known else NAN


def _gap(rows: Rows, info: ReportInfo, arm: Arm, classifier: str, pair: Pair) -> Gap:
    """Return why a pair has no score: the first stage that is not done."""
    chain = [rows.generator(s, arm, pair) for s in ("fit", "synthesize")] if arm.method in info.generative else []
    chain += [rows.classifier(s, arm, classifier, pair) for s in ("classify", "evaluate")]
    names = [*(["fit", "synthesize"] if arm.method in info.generative else []), "classify", "evaluate"]
    for name, row in zip(names, chain, strict=True):
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
