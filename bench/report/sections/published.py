"""Published | ours, split by image | ours, patient-disjoint; and published numbers that are impossible."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from bench.analysis.info import FoldSize, PublishedFacts, ReportInfo
from bench.analysis.published import Comparison, Head, Impossible, Number
from bench.analysis.report import Records
from bench.report.content import Block, Section, Table
from bench.report.text import DASH, count, join, literal

NAMES = {"accuracy": "Accuracy", "precision": "Precision", "recall": "Recall", "f1": "F1"}
NAMES |= {"iou": "IoU", "pixel_accuracy": "Pixel accuracy", "class_accuracy": "Class accuracy"}
NAMES |= {"ssim": "SSIM", "psnr": "PSNR, dB", "mse": "MSE"}
CHANCE = math.log(2)  # cross entropy of a classifier at chance level, two classes


def sections(records: Records, info: ReportInfo) -> Iterator[Section]:
    """Yield tables and remarks; nothing for a suite whose methods have no published results."""
    facts, found = info.published, records.published
    if facts is None or not facts.results.methods:
        return
    masks = "published: the reference masks are not known; ours: see Translations"
    unpaired = f"published: {facts.results.unpaired or DASH}"
    blocks: list[Block] = [_how(facts, info), *_differences(facts), *_classification(found, records.impossible, facts)]
    blocks += _means(found, "fcn", "FCN score", masks, facts)
    blocks += _means(found, "unpaired", "Translation against an unrelated real image", unpaired, facts)
    blocks += [_inconsistencies(records.impossible, facts), *map(_head, records.heads)]
    blocks += [line for line in ("" if records.raters else _raters(facts), _rest(info)) if line]
    yield Section("Published and reproduced results", tuple(blocks), 58, appendix=False)


def _how(facts: PublishedFacts, info: ReportInfo) -> str:
    by_image, sizes = [f for f in info.folds if f.unit == "image"], facts.results.test_images.values()
    images = " + ".join(f"{n} {literal(name)}" for name, n in facts.results.test_images.items())
    positive = literal(facts.results.positive)
    unknown = ", an assumption: the published numbers fit both classes equally well" if len(set(sizes)) == 1 else ""
    draws = max(len(by_image), len(info.apart.folds))
    shared = join(dict.fromkeys(f"{f.shared_groups} of {f.test_groups}" for f in by_image))
    return (
        f"Published: {facts.results.source}; {images} test images. *By image*: training and test images drawn "
        f"without regard to {info.data.groups}, as the authors did; {shared or DASH} of the test {info.data.groups} "
        f"were also used for training. *Disjoint*: as many images, with {info.data.groups} in one part only. Shares "
        f"are pooled over {count(draws, 'draw')}, with Wilson's 95 % interval for that many test images"
        + (" (draws share some images, so it is somewhat too narrow)" if draws > 1 else "")
        + f"; {positive} is the positive class{unknown}. *Leakage*: by image minus disjoint, with Newcombe's "
        "interval."
    )


def _differences(facts: PublishedFacts) -> list[str]:
    """Return where this run deviates from the published protocol; differences common to all methods once."""
    methods = [m for m in facts.differences if m]
    if not any(facts.differences.values()) and not facts.exchanged:
        return ["The run follows the published protocol in every known setting."]
    every = [d for m in methods[1:2] for d in facts.differences[m] if all(d in facts.differences[x] for x in methods)]
    lines = ["**Not the published protocol**, so these numbers are not a replication:"]
    common = [*facts.differences.get("", ()), *every]
    if common:
        lines.append(f"- all: {', '.join(common)}")
    for m in methods:
        own = [d for d in facts.differences[m] if d not in common]
        other = f"**replaced by `{facts.exchanged[m]}`**" if m in facts.exchanged else ""
        if own or other:
            lines.append(f"- `{m}`: {'; '.join(filter(None, (other, ', '.join(own))))}")
    return ["\n".join([lines[0], "", *lines[1:]])]


def _classification(found: Sequence[Comparison], wrong: Sequence[Impossible], facts: PublishedFacts) -> list[Block]:
    parts: list[Block] = []
    impossible = {(w.method, w.found.measure) for w in wrong}
    of_kind = [c for c in found if c.kind == "classification"]
    for measure in dict.fromkeys(c.measure for c in of_kind):
        rows = [
            [
                _method(c, facts),
                _printed(c, (c.method, c.measure) in impossible),
                *(_share(n) for n in (c.by_image, c.apart)),
                _signed(c.leak),
            ]
            for c in of_kind
            if c.measure == measure
        ]
        parts.append(_table(measure, rows))
    return ["Test images classified by the discriminator classifier of each generator:", *parts] if parts else []


def _table(measure: str, rows: Sequence[Sequence[str]]) -> Table:
    heads = [NAMES[measure], "Published", "Ours, by image", "Ours, disjoint", "Leakage"]
    return Table.of(heads, rows, title=f"Published: {NAMES[measure]}")


def _means(found: Sequence[Comparison], kind: str, what: str, note: str, facts: PublishedFacts) -> list[Block]:
    of_kind = [c for c in found if c.kind == kind]
    if not any(math.isfinite(n.value) for c in of_kind for n in (c.published, c.by_image, c.apart)):
        return []
    parts: list[Block] = [
        f"{what} ({note}); ours are means over draws, with the interval of a t test if there are several:"
    ]
    for measure in dict.fromkeys(c.measure for c in of_kind):
        rows = [
            [_method(c, facts), c.printed or DASH, _mean(c.by_image), _mean(c.apart), _signed(c.leak)]
            for c in of_kind
            if c.measure == measure
        ]
        parts.append(_table(measure, rows))
    return parts


def _method(c: Comparison, facts: PublishedFacts) -> str:
    """Return the name of a method; a replacement of the published method is named as such."""
    other = facts.exchanged.get(c.method)
    if other:
        return f"`{c.method}`, ours with `{other}`"
    if "pretrained" in facts.settings.get(c.method, ()):
        return f"`{c.method}`, ours without its pretraining"
    return f"`{c.method}`" + (", ours modified (see above)" if facts.differences.get(c.method) else "")


def _printed(c: Comparison, impossible: bool) -> str:
    """'0.95 [0.76, 0.99]'; for an impossible number also the counts behind its interval."""
    if not c.printed:
        return DASH
    return f"{c.printed} (impossible; {_share(c.published)})" if impossible else f"{c.printed}{_ends(c.published)}"


def _share(n: Number) -> str:
    """'15/20 = 0.75 [0.53, 0.89]'."""
    if not math.isfinite(n.value):
        return f"{n.hits}/{n.n}" if n.hits is not None else DASH
    return (f"{n.hits}/{n.n} = " if n.hits is not None else "") + f"{n.value:.2f}{_ends(n)}"


def _mean(n: Number) -> str:
    return f"{_digits(n.value)}{_ends(n)}" if math.isfinite(n.value) else DASH


def _ends(n: Number) -> str:
    return f" [{_digits(n.low)}, {_digits(n.high)}]" if math.isfinite(n.low) else ""


def _digits(value: float) -> str:
    return (f"{value:.2f}" if abs(value) >= 0.1 or value == 0 else f"{value:.2g}").replace("-", "−")


def _signed(n: Number) -> str:
    if not math.isfinite(n.value):
        return DASH
    ends = f" [{n.low:+.2f}, {n.high:+.2f}]" if math.isfinite(n.low) else ""
    return f"{n.value:+.2f}{ends}".replace("-", "−")


def _inconsistencies(wrong: Sequence[Impossible], facts: PublishedFacts) -> str:
    n = sum(facts.results.test_images.values())
    if not wrong:
        return f"The published shares are consistent with each other on {n} test images."
    lines = [f"Impossible published numbers, found by enumerating every confusion table of {n} test images:", ""]
    return "\n".join([*lines, *(f"- {_impossible(w)}" for w in wrong)]) + "\n"


def _impossible(w: Impossible) -> str:
    x, near = w.found, w.found.nearest
    others = join(f"{m} {text}" for m, text in x.others.items())
    hits, of = near.counts(x.measure)
    decimals = len(x.printed.partition(".")[2])
    value = f"{near.value(x.measure):.{decimals}f}" if of else "undefined"
    alone = " (and on its own: no ratio of two counts of so few images gives it)" if x.alone else ""
    return (
        f"`{w.method}`: {x.measure} {x.printed} is impossible with {others} on {w.negatives} + {w.positives} "
        f"images{alone}; nearest possible {hits}/{of} = {value}."
    )


def _head(h: Head) -> str:
    """Return the final class loss of a discriminator classifier, and whether it separates the classes."""
    split = "by image" if h.unit == "image" else "patients disjoint"
    taught = ", which was trained with one class label only" if h.one_label else ""
    learnt = "converged" if h.class_loss < CHANCE / 10 else f"{CHANCE:.2f} is chance level"
    knows = "these numbers do not show that it separates the classes"
    if h.difference.low > 0 or h.difference.high < 0:
        knows = "it separates the classes" if h.difference.low > 0 else "it separates them in the wrong direction"
    return (
        f"`{h.method}`, {split}: final class loss {h.class_loss:.2g} (mean of {count(h.trainings, 'training')}; "
        f"{learnt}) of the {h.name}{taught}. It assigns its training class to {h.own.hits} of {h.own.n} test "
        f"images of that class and to {h.other.hits} of {h.other.n} of the other: difference "
        f"{_signed(h.difference)}; {knows}."
    )


def _raters(facts: PublishedFacts) -> str:
    """Return the published ratings, which have no counterpart here."""
    found = {f"`{m}`": known.raters for m, known in facts.results.methods.items() if known.raters}
    if not found:
        return ""
    found["real images"] = facts.results.raters_of_real_images
    texts = [f"{who} {r['quality']} and {r['taken_for_real']}" for who, r in found.items() if r]
    what = "raters' mean quality, 0 to 5, and share of images taken for real"
    return f"Also published, but not repeated here (this run has no rating study): {what}: {'; '.join(texts)}."


def _rest(info: ReportInfo) -> str:
    apart: Sequence[FoldSize] = info.apart.folds
    if not apart or len(apart) == len(info.folds):
        return ""
    ran = dict(info.published.exchanged) if info.published else {}
    named = f"; {join(f'`{m}`' for m in ran)} stands for {join(f'`{o}`' for o in ran.values())} there"
    splits = count(len(apart), "split")
    return f"All sections below use only the {splits} with disjoint {info.data.groups}{named if ran else ''}."
