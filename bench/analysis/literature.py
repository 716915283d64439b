"""Published scores of classifiers and costs of generators, compared with their counterparts here. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from bench.analysis.info import ReportInfo
from bench.analysis.published import Number, mean_of, share_of
from bench.analysis.rows import NAN, Rows
from bench.cost.keys import CostKey
from bench.suite.arms import Arm
from bench.suite.published import Confusion, KnownNetwork, Published
from bench.types import ResultRow


@dataclass(frozen=True)
class Beside:
    """A published score of a network, and ours of the corresponding ``classifier`` ('': none in the suite).

    ``printed`` and ``sd`` are as printed, else ''. ``published`` is the value, from the counts if these are known.
    ``ours`` is for real images alone, the mean over pairs with its 95 % interval. ``word`` is the position of the
    published value relative to our interval: 'in', 'above' or 'below'; '' without an interval.
    """

    network: str
    metric: str
    printed: str
    sd: str
    published: Number
    classifier: str
    ours: Number
    word: str


@dataclass(frozen=True)
class Orientation:
    """Range of published scores of other networks by one metric, and our scores by classifier."""

    metric: str
    networks: int
    lowest: float
    highest: float
    ours: Mapping[str, Number]


@dataclass(frozen=True)
class CostBeside:
    """Published cost of a training, and ours per fold: steps, wall seconds, images per second. NaN: not measured."""

    method: str
    published_images_per_s: float
    steps: float
    seconds: float
    images_per_s: float
    published_amount_s: float  # time for the published number of images here


@dataclass(frozen=True)
class Literature:
    """Published numbers for orientation; ``context`` is empty if the suite has a corresponding network."""

    beside: tuple[Beside, ...] = ()
    context: tuple[Orientation, ...] = ()
    costs: tuple[CostBeside, ...] = ()


def literature(rows: Rows, info: ReportInfo) -> tuple[Literature, ...]:
    """Return the published scores and costs named by the suite, with ours; () if it names none."""
    if info.published is None:
        return ()
    results = info.published.results
    found = tuple(_beside(rows, info, n, known, m) for n, known in results.literature.items() for m in _metrics(known))
    context = () if any(b.classifier for b in found) else _context(rows, info, found)
    costs = _costs(rows, info, results)
    return (Literature(found, context, costs),) if found or costs else ()


def _metrics(known: KnownNetwork) -> list[str]:
    return list(dict.fromkeys([*known.scores, *(_COUNTS if known.confusion else ())]))


def _beside(rows: Rows, info: ReportInfo, network: str, known: KnownNetwork, metric: str) -> Beside:
    classifier = known.like if known.like in info.classifiers else ""
    printed = known.scores.get(metric, "")
    counted = known.confusion is not None and metric in _COUNTS
    published = _counted(known.confusion, metric) if known.confusion and counted else Number(float(printed))
    ours = _ours(rows, info, classifier, metric) if classifier else Number()
    word = ""
    if math.isfinite(ours.low):
        word = "below" if published.value < ours.low else "above" if published.value > ours.high else "in"
    return Beside(network, metric, printed, known.sd.get(metric, ""), published, classifier, ours, word)


_COUNTS = ("accuracy", "sensitivity", "specificity")  # known from a confusion table of two classes


def _counted(c: Confusion, metric: str) -> Number:
    hits, n = {
        "accuracy": (c.tp + c.tn, c.tp + c.tn + c.fp + c.fn),
        "sensitivity": (c.tp, c.tp + c.fn),
        "specificity": (c.tn, c.tn + c.fp),
    }[metric]
    return share_of(hits, n)


def _ours(rows: Rows, info: ReportInfo, classifier: str, metric: str) -> Number:
    """Return the mean of ``none`` over pairs; the interval is clipped to [0, 1]."""
    if metric in ("sensitivity", "specificity") and len(info.classes) != 2:
        return Number()  # with several classes ours is a macro average, another measure
    scored = [rows.classifier("evaluate", Arm("none"), classifier, pair) for pair in info.pairs]
    mean = mean_of([r.metrics.get(f"test/{metric}", NAN) for r in scored if r and r.status == "done"], info)
    return replace(mean, low=max(0.0, mean.low), high=min(1.0, mean.high)) if math.isfinite(mean.low) else mean


def _context(rows: Rows, info: ReportInfo, found: tuple[Beside, ...]) -> tuple[Orientation, ...]:
    made = []
    for metric in dict.fromkeys(b.metric for b in found):
        values = [b.published.value for b in found if b.metric == metric]
        ours = {c: _ours(rows, info, c, metric) for c in info.classifiers}
        made.append(Orientation(metric, len(values), min(values), max(values), ours))
    return tuple(made)


def _costs(rows: Rows, info: ReportInfo, results: Published) -> tuple[CostBeside, ...]:
    made = []
    for method in info.generative:
        if method not in results.costs:
            continue
        known = results.costs[method]
        images = known.steps * known.batch_size
        fits = rows.done("fit", method, info.pairs)
        rate = _mean(fits, CostKey.IMAGES_PER_S)
        made.append(
            CostBeside(
                method=method,
                published_images_per_s=images / known.seconds,
                steps=_mean(fits, "steps"),
                seconds=_mean(fits, CostKey.ELAPSED_S),
                images_per_s=rate,
                published_amount_s=images / rate if rate > 0 else NAN,
            )
        )
    return tuple(made)


def _mean(fits: list[ResultRow], name: str) -> float:
    known = [x for r in fits if math.isfinite(x := r.costs.get(name, NAN))]
    return sum(known) / len(known) if known else NAN
