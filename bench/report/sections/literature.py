"""Published scores of classifiers compared with ours, network by network, and the published cost of training."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from statistics import median

from bench.analysis.info import PublishedFacts, ReportInfo
from bench.analysis.literature import Beside, CostBeside, Orientation
from bench.analysis.published import Number
from bench.analysis.report import Records
from bench.report.content import Block, Section, Table
from bench.report.text import DASH, count, interval, join, literal, number, percent, seconds
from bench.suite.published import KnownCost

LISTED = 8  # most published scores without a counterpart here that are listed; more are given as a range
METRICS = {
    "patient_score": "Patient-level accuracy",
    "accuracy": "Accuracy, per image",
    "recall_bm": "Mean recall of benign and malignant",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
}


def sections(records: Records, info: ReportInfo) -> Iterator[Section]:
    """Yield published scores and costs compared with ours; nothing for a suite that names neither."""
    facts = info.published
    if facts is None or not records.orientations:
        return
    (found,), blocks = records.orientations, list[Block]()
    if found.beside:
        blocks += [_how(facts, info), _summary(found.beside, info), *_misprints(found.beside)]
        alone = [b for b in found.beside if not b.classifier]
        shown = [b for b in found.beside if b.classifier or len(alone) <= LISTED]
        blocks += [_table(shown, facts, info)] if shown else []
    if found.context:
        blocks += _context(found.context, info)
    yield Section("Published numbers, for orientation", (*blocks, *_costs(found.costs, facts, info)), 140)


def _how(facts: PublishedFacts, info: ReportInfo) -> str:
    differs = [*facts.results.differs, *facts.differences.get("", ())]
    known = f" Known differences: {'; '.join(differs)}." if differs else ""
    return (
        f"{facts.results.source}. These are neither a target nor a comparison of methods: their splits, image sizes, "
        f"networks and budgets differ. Ours: `none`, real images alone, {info.protocol}, {info.image_size_px} px, "
        f"mean over {count(len(info.pairs), 'pair')} with its 95 % interval by the corrected t test.{known}"
    )


def _summary(found: Sequence[Beside], info: ReportInfo) -> str:
    """Return how many published numbers lie in our intervals, and which do not."""
    with_interval = [b for b in found if b.word]
    if not any(b.classifier for b in found):
        return "No classifier of this suite is one of the published networks."
    if not with_interval:
        return "None of our scores has an interval to compare them with."
    text = f"Of {count(len(with_interval), 'published number')} with a corresponding network here, "
    inside = sum(b.word == "in" for b in with_interval)
    width = 100 * median(b.ours.high - b.ours.low for b in with_interval)
    text += f"{inside} {'lies' if inside == 1 else 'lie'} in our interval, which is {width:.1f} points wide (median)."
    for word in ("above", "below"):
        outside = [b for b in with_interval if b.word == word]
        by_network = {n: [_metric(b.metric, info) for b in outside if b.network == n] for n in _networks(outside)}
        if outside:
            each = "; ".join(f"{n}: {join(_small(m) for m in metrics)}" for n, metrics in by_network.items())
            text += f" **{word.capitalize()} it, {len(outside)}**: {each}."
    return text


def _networks(found: Sequence[Beside]) -> list[str]:
    return list(dict.fromkeys(b.network for b in found))


def _misprints(found: Sequence[Beside]) -> list[str]:
    """Return sentences on printed numbers that differ from the printed counts."""
    wrong = [b for b in found if b.printed and b.published.n and _rounded(b) != b.printed]
    return [
        f"{b.network}: its {b.metric} was printed as {b.printed}; its own confusion matrix gives "
        f"{b.published.hits}/{b.published.n} = {b.published.value:.4f}, with Wilson's 95 % interval "
        f"{b.published.low:.2f} to {b.published.high:.2f}."
        for b in wrong
    ]


def _rounded(b: Beside) -> str:
    return f"{b.published.value:.{len(b.printed.partition('.')[2])}f}"


def _table(found: Sequence[Beside], facts: PublishedFacts, info: ReportInfo) -> Table:
    words = {"in": "yes", "above": "no: above", "below": "no: below", "": DASH}
    rows = [
        [_network(b, facts), _metric(b.metric, info), _printed(b), _classifier(b, facts), _ours(b.ours), words[b.word]]
        for b in found
    ]
    heads = ("Network", "Measure", "Published, %", "Corresponding network here", "Ours, %", "Published in our interval")
    return Table.of(heads, rows, 2, "Published scores")


def _network(b: Beside, facts: PublishedFacts) -> str:
    source = facts.results.literature[b.network].source
    return f"{b.network} ({source})" if source else b.network


def _classifier(b: Beside, facts: PublishedFacts) -> str:
    if not b.classifier:
        return DASH
    unlike = facts.results.literature[b.network].unlike
    return f"`{b.classifier}`" + (f" ({unlike})" if unlike else "")


def _printed(b: Beside) -> str:
    """'87.9 ± 4.1', or for counts '40/43 = 93.0 [81.4, 97.6]'."""
    p = b.published
    if p.n:
        return f"{p.hits}/{p.n} = {percent(p.value)} {interval(p.low, p.high)}"
    return percent(p.value) + (f" ± {percent(float(b.sd))}" if b.sd else "")


def _ours(n: Number) -> str:
    return f"{percent(n.value)} {interval(n.low, n.high)}".strip()


def _metric(metric: str, info: ReportInfo) -> str:
    """'Recall of benign' for ``recall_benign``; a sensitivity names its class."""
    if metric in ("sensitivity", "specificity") and len(info.classes) == 2:
        return f"{METRICS[metric]} (recall of {literal(info.classes[metric == 'sensitivity'])})"
    kind, _, of = metric.partition("_")
    return METRICS.get(metric) or (f"{kind.capitalize()} of {literal(of)}" if of else kind.capitalize())


def _small(text: str) -> str:
    return text[0].lower() + text[1:]


def _context(found: Sequence[Orientation], info: ReportInfo) -> list[Block]:
    """Return the range of the published networks' scores."""
    rows = []
    for o in found:
        span = percent(o.lowest) if o.networks == 1 else f"{percent(o.lowest)} to {percent(o.highest)}"
        rows.append([_metric(o.metric, info), span, *(_ours(n) for n in o.ours.values())])
    networks = count(max(o.networks for o in found), "published network")
    header = ["Measure", "Published, %", *(f"`{c}`, %" for c in info.classifiers)]
    return [
        f"For context only: minimum and maximum of {networks}, and ours:",
        Table.of(header, rows, title="Range of published scores"),
    ]


def _costs(found: Sequence[CostBeside], facts: PublishedFacts, info: ReportInfo) -> Iterator[Block]:
    for c in found:
        known: KnownCost = facts.results.costs[c.method]
        device = info.host or DASH
        rows = [
            ["Published", known.device, f"{known.steps:,}", seconds(known.seconds), number(c.published_images_per_s)],
            ["Ours, per fold", device, _steps(c.steps), seconds(c.seconds), number(c.images_per_s)],
        ]
        yield (
            f"Cost of training `{c.method}`. Published: {facts.results.source}; {known.steps:,} steps of "
            f"{known.batch_size} images.{_pace(c, known)}"
        )
        heads = ("Training", "Device", "Steps", "Wall time", "Images per second")
        yield Table.of(heads, rows, 2, f"Published cost of {c.method}")


def _pace(c: CostBeside, known: KnownCost) -> str:
    if not math.isfinite(c.published_amount_s):
        return ""
    times = c.published_amount_s / known.seconds
    return f" The same number of images would take {seconds(c.published_amount_s)} here, {number(times)} times as long."


def _steps(value: float) -> str:
    return f"{value:,.0f}" if math.isfinite(value) else DASH
