"""The answer, generated from the numbers: verdicts, minimum detectable effect, cost; and whether scores are missing."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from bench.analysis.info import ReportInfo
from bench.analysis.lines import Line, typical_minimum_detectable_effect
from bench.analysis.quality import Quality, collapsed, wrong_labels
from bench.analysis.report import Records
from bench.report.content import Section
from bench.report.sections.curve import curve_design
from bench.report.text import count, join, percent, points, seconds

HOPELESS = 0.25  # minimum detectable effect from which the design is useless: no augmentation gains as much
MOST_NAMED = 5  # most lines with one verdict that are named
SEEN = "power 80 %, two-sided 5 %"


def sections(records: Records, info: ReportInfo) -> Iterator[Section]:
    """Yield the answer."""
    yield Section("Answer", tuple(summary(records, info)), order=0, appendix=False)


def summary(records: Records, info: ReportInfo) -> list[str]:
    """Return the sentences of the answer, one for each paragraph; [] for a suite without classifiers."""
    if not info.classifiers:
        return []
    lines = records.lines
    design = curve_design(records, info) if records.curve else _design(lines)
    images = low_diversity(records.quality), mislabelled(records.quality)
    found = (_verdicts(lines, info), _not_compared(records), design, *images, _cost(lines), _missing(lines, info))
    return [s for s in found if s]


def _verdicts(lines: Sequence[Line], info: ReportInfo) -> str:
    compared = [x for x in lines if "none" in x.versus and not x.arm.subset and not _withheld(x)]
    if not compared:
        return (
            "No arm could be compared with `none` (real images only), so this report has scores but no verdicts."
            if any(x.pairs for x in lines)
            else _no_score(lines)
        )
    words = {w: [x for x in compared if x.verdict("none").word == w] for w in ("helps", "hurts", "equivalent")}
    phrases = [f"**{word}**: {_named(found, info)}" for word, found in words.items() if found]
    undecided = len(compared) - sum(map(len, words.values()))
    with_ = f", {info.verdict_size} training {info.unit.groups}" if info.is_curve else ""
    base = f"Against real images alone (`none`), {info.unit.metric}{with_}, {count(len(compared), 'comparison')}: "
    if not phrases and not any(x.verdict("none").difference for x in compared):
        return f"{base}**undecided** in all of them; no mean differs from that of `none`."
    if not phrases:
        best = max(compared, key=lambda x: x.verdict("none").difference)
        effect = points(best.verdict("none").difference)
        return (
            f"{base}**undecided** in all of them; the largest mean difference, {effect} points ({_name(best, info)}), "
            "cannot be distinguished from chance."
        )
    rest = f"; **undecided**: the other {undecided}." if undecided else "."
    return base + "; ".join(phrases) + rest


def _not_compared(records: Records) -> str:
    """Return why arms have no verdict: untrained, or tuned with another budget than `none`; '' if all have one."""
    reasons = {w: x.arm.method for x in records.lines if (w := _withheld(x))}
    bare = {x.method: x.share for x in records.untrained if x.method in reasons.values()}
    rest = [w for w, m in reasons.items() if m not in bare or len(bare) == 1]
    if len(bare) > 1:
        shares = join([f"{m} ({100 * share:.0f} %)" for m, share in bare.items()])
        why = "whose generators are untrained (excess KID in % of that of noise)"
        rest.insert(0, f"Not compared: {shares}, {why}; train them for more steps.")
    return " ".join(rest)


def _withheld(line: Line) -> str:
    return line.verdict("none").withheld if "none" in line.versus else ""


def _named(lines: Sequence[Line], info: ReportInfo) -> str:
    """Return the names of the lines with their differences; only the largest if there are many."""
    by_size = sorted(lines, key=lambda x: -abs(x.verdict("none").difference))
    rest = [f"{len(lines) - MOST_NAMED} more"] if len(lines) > MOST_NAMED + 1 else []
    shown = by_size[:MOST_NAMED] if rest else list(lines)
    return join([f"{_name(x, info)} ({points(x.verdict('none').difference)})" for x in shown] + rest)


def _name(line: Line, info: ReportInfo) -> str:
    return f"{line.arm.label}, {line.classifier}" if len(info.classifiers) > 1 else line.arm.label


def _design(lines: Sequence[Line]) -> str:
    typical = typical_minimum_detectable_effect(lines)
    pairs = f"With {count(max((x.pairs for x in lines), default=0), 'pair')} (fold × repeat)"
    if not any(x.versus for x in lines):
        return ""
    if not math.isfinite(typical):
        return f"{pairs} the minimum detectable effect is unknown: the pairs show no spread."
    text = (
        f"{pairs} and the observed spread, the median minimum detectable effect is {_capped(typical)} points ({SEEN})"
    )
    if typical >= HOPELESS:
        return f"{text}: use this run only to check that everything works."
    return f"{text}; smaller effects in either direction are not ruled out."


def _capped(effect: float) -> str:
    return "100" if effect > 1 else percent(effect)


def low_diversity(quality: Sequence[Quality]) -> str:
    """Return which generators have collapsed, with the diversity of their images; '' if none has."""
    found = collapsed(quality)
    if not found:
        return ""
    named = [f"`{m}` {percent(q.diversity_share)} % by {q.extractor}" for m, q in sorted(found.items())]
    return (
        f"**Low diversity:** the images of a class differ less than half as much as real ones (mode collapse): "
        f"{join(named)} of the real diversity. The results of such an arm say little about its method: train it for "
        "more steps, or with other settings."
    )


def mislabelled(quality: Sequence[Quality]) -> str:
    """Return which generators make images that do not show the class of their label; '' if none does."""
    found = wrong_labels(quality)
    if not found:
        return ""
    named = join([f"{percent(q.label_agreement)} % of `{m}`" for m, q in found.items()])
    real = percent(max(q.real_label_agreement for q in found.values()))
    other = percent(max(q.mistaken_share for q in found.values()))
    return (
        f"**Wrong labels:** a classifier of the real training images takes {named} for the class of their label; of "
        f"real images of other patients {real} %, of real images of other classes {other} %. The results of such an "
        "arm show what wrong labels do: train it for more steps, or with other settings."
    )


def _cost(lines: Sequence[Line]) -> str:
    trained = [x for x in lines if math.isfinite(x.generator_s)]
    if not trained:
        return ""
    cheap, dear = (pick(trained, key=lambda x: x.generator_s) for pick in (min, max))
    span = (
        f"{seconds(cheap.generator_s)} per fold for {cheap.arm.method}"
        if cheap.arm.method == dear.arm.method
        else f"between {seconds(cheap.generator_s)} ({cheap.arm.method}) and "
        f"{seconds(dear.generator_s)} ({dear.arm.method}) per fold"
    )
    classifier = [x.classifier_s for x in lines if math.isfinite(x.classifier_s)]
    low, high = seconds(min(classifier)), seconds(max(classifier))
    return f"Training a generator took {span}; training a classifier {low if low == high else f'{low} to {high}'}."


def _missing(lines: Sequence[Line], info: ReportInfo) -> str:
    short = [x for x in lines if x.pairs < x.planned]
    if not short:
        return ""
    empty = [x for x in short if not x.pairs]
    gaps = sum(x.planned - x.pairs for x in short)
    return (
        f"**Incomplete:** {count(gaps, 'score')} of {sum(x.planned for x in lines)} are missing, in "
        f"{count(len(short), 'line')} ({len(empty)} without any score): see *Failed, skipped and missing*."
    )


def _no_score(lines: Sequence[Line]) -> str:
    """Return why nothing was scored: not run yet, or the first failure."""
    ended = [g for x in lines for g in x.gaps if g.status not in ("missing", "done")]
    if not ended:
        return "No score has been computed yet."
    first = next((g for g in ended if g.status == "failed"), ended[0])
    cause = f"{first.stage} {first.status}, {first.reason}"
    return f"No score could be computed: every arm lacks all of its pairs. The first cause: {cause}"
