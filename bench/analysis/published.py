"""Published numbers and ours: with patients shared by training and test, as published, and patient-disjoint.

Pure, except that it reads predictions tables and logged training losses.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from pathlib import Path

from bench.analysis.info import PublishedFacts, ReportInfo
from bench.analysis.rows import NAN, Pair, Rows, Score
from bench.analysis.translations import FCN, UNPAIRED
from bench.metrics.predictions import Predictions, read_predictions
from bench.stats.confusion_tables import MEASURES, ConfusionTable, Inconsistency, inconsistencies, possible_tables
from bench.stats.inference import corrected_resampled_t, wilson
from bench.stats.proportions import newcombe
from bench.store.history import HISTORY, read_history
from bench.suite.published import Published
from bench.types import ResultRow, Unit


@dataclass(frozen=True)
class Number:
    """A measure with its 95 % interval (NaN without one): ``hits`` of ``n`` images, or a mean over ``n`` draws."""

    value: float = NAN
    low: float = NAN
    high: float = NAN
    n: int = 0
    hits: int | None = None  # None: not a share of images


@dataclass(frozen=True)
class Comparison:
    """One measure of one method. ``printed`` is the published number as printed, else ''.

    ``published`` is the value from the counts behind it, with its interval. ``by_image`` and ``apart`` are ours on
    splits that share patients and on patient-disjoint splits, ``leak`` is their difference.
    """

    method: str
    kind: str  # 'classification', 'fcn' or 'unpaired'
    measure: str
    printed: str
    published: Number
    by_image: Number
    apart: Number
    leak: Number


@dataclass(frozen=True)
class Head:
    """The discriminator classifier of a method: its final class loss, mean over ``trainings``, and its predictions.

    ``own`` are test images of the class that it was trained on, ``other`` those of the other class; hits are those
    assigned to its training class, and ``difference`` is own − other. ``one_label``: trained with one label only.
    """

    method: str
    unit: Unit
    name: str
    class_loss: float
    trainings: int
    own: Number
    other: Number
    difference: Number
    one_label: bool


@dataclass(frozen=True)
class Impossible:
    """A published number that is impossible."""

    method: str
    negatives: int
    positives: int
    found: Inconsistency


def comparisons(rows: Rows, info: ReportInfo, root: Path) -> tuple[Comparison, ...]:
    """Return the comparisons of every method with published results, by kind and measure, in the suite's order."""
    facts = info.published
    if facts is None:
        return ()
    found = []
    for method in _methods(facts, info):
        known = facts.results.methods[method]
        tables = {u: _tables(rows, info, method, u, root) for u in ("image", "group")}
        for measure in MEASURES:
            published = _published_share(facts.results, method, measure)
            by_image, apart = (_share(tables[u], measure) for u in ("image", "group"))
            printed, leak = known.classification.get(measure, ""), _leak(by_image, apart)
            found.append(Comparison(method, "classification", measure, printed, published, by_image, apart, leak))
        for kind, measures in (("fcn", FCN), ("unpaired", UNPAIRED)):
            for measure in measures:
                printed = known.fcn.get(measure, "") if kind == "fcn" else ""
                mixed, strict = (_by_repeat(rows, info, method, u, f"{kind}/{measure}") for u in ("image", "group"))
                by_image, apart = (mean_of(list(v.values()), info) for v in (mixed, strict))
                leak = mean_of([mixed[r] - strict[r] for r in sorted(mixed.keys() & strict.keys())], info)
                published = Number(float(printed)) if printed else Number()
                found.append(Comparison(method, kind, measure, printed, published, by_image, apart, leak))
    return tuple(found)


def impossible(info: ReportInfo) -> tuple[Impossible, ...]:
    """Return the published classification numbers that no confusion table of that size can give."""
    if info.published is None or not _methods(info.published, info):
        return ()
    results, found = info.published.results, []
    negatives, positives = _sizes(results)
    for method in _methods(info.published, info):
        printed = {m: t for m, t in results.methods[method].classification.items() if m in MEASURES}
        found += [Impossible(method, negatives, positives, x) for x in inconsistencies(printed, negatives, positives)]
    return tuple(found)


def heads(rows: Rows, info: ReportInfo, root: Path) -> tuple[Head, ...]:
    """Return the discriminator classifiers of the methods that log their class loss."""
    facts = info.published
    if facts is None or not facts.results.own_class_loss:
        return ()
    found = []
    for method in _methods(facts, info):
        for unit in ("image", "group"):
            done = _done(rows, info, "discriminator_classifier", method, unit)
            trained = _done(rows, info, "fit", method, unit)
            last = [_last_loss(root / r.folder / HISTORY, facts.results.own_class_loss) for r in trained]
            losses = [x for x in last if math.isfinite(x)]
            table = _tables(rows, info, method, unit, root)
            if not (losses and table):
                continue
            called = sum(table, ConfusionTable(0, 0, 0, 0))
            own, of_own, other, of_other = called.tn, called.tn + called.fp, called.fn, called.tp + called.fn
            found.append(
                Head(
                    method=method,
                    unit=unit,
                    name=str(done[0].facts.get("discriminator_classifier", "")),
                    class_loss=sum(losses) / len(losses),
                    trainings=len(losses),
                    own=share_of(own, of_own),
                    other=share_of(other, of_other),
                    difference=Number(*newcombe(own, of_own, other, of_other)),
                    one_label="class_on_both" not in facts.settings.get(method, ()),
                )
            )
    return tuple(found)


def _methods(facts: PublishedFacts, info: ReportInfo) -> list[str]:
    return [m for m in info.generative if m in facts.results.methods]


def _sizes(results: Published) -> tuple[int, int]:
    """Return the published numbers of negative and positive test images."""
    positives = results.test_images[results.positive]
    return sum(results.test_images.values()) - positives, positives


def _published_share(results: Published, method: str, measure: str) -> Number:
    """Return a published measure with the interval of the counts behind it, if the numbers determine these."""
    printed = {m: t for m, t in results.methods[method].classification.items() if m in MEASURES}
    if measure not in printed:
        return Number()
    wrong = inconsistencies(printed, *_sizes(results))
    mended = {m: t for m, t in printed.items() if m not in {x.measure for x in wrong}}
    tables = possible_tables(mended, *_sizes(results))
    counts = {t.counts(measure) for t in tables}
    if len(counts) != 1 or not mended:
        return Number(float(printed[measure]))
    return share_of(*counts.pop()) if measure != "f1" else Number(float(printed[measure]))


def _tables(rows: Rows, info: ReportInfo, method: str, unit: Unit, root: Path) -> list[ConfusionTable]:
    """Return the confusion table of each draw that has one, with the published positive class as positive."""
    done = [row for row in _done(rows, info, "discriminator_classifier", method, unit) if "predictions" in row.facts]
    return [_confusion(read_predictions(root / str(row.facts["predictions"]), "test"), info) for row in done]


def _confusion(p: Predictions, info: ReportInfo) -> ConfusionTable:
    positive_class = info.published.results.positive if info.published else ""
    positive = p.classes.index(positive_class) if positive_class in p.classes else info.positive_label
    truth, called = p.y_true == positive, p.y_prob.argmax(axis=1) == positive
    counts = (truth & called, truth & ~called, ~truth & called, ~truth & ~called)
    return ConfusionTable(*(int(c.sum()) for c in counts))


def _share(tables: Sequence[ConfusionTable], measure: str) -> Number:
    """Return a measure pooled over the test images of all draws."""
    if not tables:
        return Number()
    pooled = reduce(add, tables)
    hits, n = pooled.counts(measure)
    return share_of(hits, n) if measure != "f1" else Number(pooled.value("f1"), n=len(tables))


def share_of(hits: int, n: int) -> Number:
    """Return a share of images with Wilson's interval."""
    return Number(hits / n, *wilson(hits, n), n, hits) if n else Number(n=0, hits=0)


def _leak(by_image: Number, apart: Number) -> Number:
    if by_image.hits is None or apart.hits is None:
        return Number(by_image.value - apart.value)
    return Number(*newcombe(by_image.hits, by_image.n, apart.hits, apart.n))


def mean_of(values: Sequence[float], info: ReportInfo) -> Number:
    """Return the mean over draws with the interval of the corrected t test (draws share images); one draw has none."""
    score = Score.of(values)
    test = corrected_resampled_t([v for v in values if math.isfinite(v)], info.test_train_ratio)
    return Number(score.mean, test.low, test.high, score.n)


def _by_repeat(rows: Rows, info: ReportInfo, method: str, unit: Unit, metric: str) -> dict[int, float]:
    found = {r.repeat or 0: r.metrics.get(metric, NAN) for r in _done(rows, info, "translate", method, unit)}
    return {repeat: value for repeat, value in found.items() if math.isfinite(value)}


def _done(rows: Rows, info: ReportInfo, stage: str, method: str, unit: Unit) -> list[ResultRow]:
    pairs: list[Pair] = [(f.fold, f.repeat) for f in info.folds if f.unit == unit]
    return rows.done(stage, method, pairs)


def _last_loss(path: Path, name: str) -> float:
    """Return the last logged value of a loss; NaN if it was not logged."""
    last = NAN
    for _, logged, value in read_history(path):
        if logged == name:
            last = value
    return last
