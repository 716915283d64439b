"""Differences to the suite's reference arm: one sentence for each arm, then one table for each measure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

from bench.analysis.differences import KID, Difference, Kind
from bench.analysis.info import ReportInfo
from bench.analysis.report import Records
from bench.report.content import Block, Section, Table, charts
from bench.report.sections.leaderboard import arm_name
from bench.report.text import DASH, count, join, number, p_value, percent, points, seconds

SHARES: tuple[Kind, ...] = ("accuracy", "recall", "coverage", "memorised")  # in [0, 1], shown in %
SHOWN = 2  # most accuracies of one arm that its sentence lists one by one


def sections(records: Records, info: ReportInfo) -> Iterator[Section]:
    """Yield sentences and tables; nothing if the suite has no reference or nothing could be compared."""
    found = records.differences
    if not found:
        return
    sentences = [sentence(m, [d for d in found if d.arm.method == m], info) for m in info.generative]
    blocks: list[Block] = [_CAPTION, "".join(f"- {text}\n" for text in sentences if text)]
    for title in dict.fromkeys(_title(d, info) for d in found):
        blocks += [f"{title}:", _table([d for d in found if _title(d, info) == title], info, title)]
    yield Section(f"Differences to `{info.reference}`", tuple(blocks), 150, claims=charts("differences"))


_CAPTION = (
    "Paired over (fold, repeat): arm minus reference [95 % interval]. Accuracy by the test of the verdicts above; KID "
    "by the corrected resampled t test, over the values of the pairs; device times by a plain paired t test. Verdicts "
    "are Holm-corrected over the arms, intervals are not."
)


def sentence(method: str, found: Sequence[Difference], info: ReportInfo) -> str:
    """Return one sentence on what a method changes; '' if nothing was compared."""
    if not found:
        return ""
    phrases = [phrase(d, info) for d in found if d.kind == "kid"]
    accuracies = [d for d in found if d.kind == "accuracy"]
    if 0 < len(accuracies) <= SHOWN:
        phrases += [phrase(d, info) for d in accuracies]
    elif accuracies:
        claims = [f"{_where(d, info)} {d.word} ({change(d)})" for d in accuracies if d.word != "undecided"]
        rest = count(len(accuracies) - len(claims), "comparison")
        phrases.append(f"in accuracy {join([*claims, f'undecided in {rest}'])}")
    phrases += [phrase(d, info) for d in found if d.kind in ("training", "step")]
    return f"`{method}`: {'; '.join(phrases)}."


WORDS: dict[str, dict[str, str]] = {  # meaning of a change of each measure; accuracy uses its verdicts
    "kid": {
        "lower": "images closer to real ones",
        "higher": "images further from real ones",
        "undecided": "similarity to real images undecided",
    },
    "diversity": {"lower": "less varied", "higher": "more varied", "undecided": "diversity within a class undecided"},
    "recall": {
        "lower": "smaller part of the real diversity covered",
        "higher": "larger part of the real diversity covered",
        "undecided": "recall undecided",
    },
    "coverage": {
        "lower": "fewer real images covered",
        "higher": "more real images covered",
        "undecided": "coverage undecided",
    },
    "memorised": {
        "lower": "fewer memorised samples",
        "higher": "more memorised samples",
        "undecided": "share of memorised samples undecided",
    },
    "training": {
        "lower": "training takes less device time",
        "higher": "training takes more device time",
        "undecided": "device time of training undecided",
    },
    "step": {
        "lower": "a step takes less",
        "higher": "a step takes more",
        "undecided": "device time of a step undecided",
    },
}


def phrase(d: Difference, info: ReportInfo) -> str:
    """'images closer to real ones (KID −0.012 [−0.020, −0.004] from 0.054)'."""
    words = WORDS[d.kind][d.word] if d.kind in WORDS else " ".join(f"accuracy {_where(d, info)} {d.word}".split())
    share = f", {_signed(100 * d.share, _whole)} %" if d.kind in ("training", "step") else ""
    return f"{words} ({'KID ' * (d.kind == 'kid')}{change(d)} from {SHOW[d.kind](d.base)}{share})"


def _where(d: Difference, info: ReportInfo) -> str:
    """Return classifier and ratio, each only if the suite has more than one."""
    ratio = d.arm.label.removeprefix(d.arm.method).strip() if len(info.ratios) > 1 else ""
    classifier = d.classifier if len(info.classifiers) > 1 else ""
    return ", ".join(part for part in (classifier, ratio) if part)


def _title(d: Difference, info: ReportInfo) -> str:
    if d.kind == "kid":
        return f"KID against real test images, by {d.metric.partition(KID)[2]} (lower is closer)"
    if d.kind == "accuracy":
        return f"{info.unit.metric.capitalize()} of {d.classifier}, in % and points"
    return {"training": "Device time of the generator's training, per fold", "step": "Device time of a training step"}[
        d.kind
    ]


def _table(found: Sequence[Difference], info: ReportInfo, title: str) -> Table:
    columns = {
        "Arm": [arm_name(d.arm) if d.kind == "accuracy" else f"`{d.arm.method}`" for d in found],
        "Verdict": [f"**{d.word}**" if d.word != "undecided" else d.word for d in found],
        "Difference": [change(d) for d in found],
        "p Holm": [p_value(d.p_adjusted) for d in found],
        "Arm mean": [SHOW[d.kind](d.value) for d in found],
        f"Mean of {info.reference}": [SHOW[d.kind](d.base) for d in found],
        "Pairs": [f"{d.pairs} of {len(info.pairs)}" for d in found],
    }
    return Table.by_column(columns, 2, title)


def mean_change(d: Difference) -> str:
    """'−0.012', in the measure's unit."""
    return points(d.mean) if d.kind in SHARES else _signed(d.mean, SHOW[d.kind])


def change(d: Difference) -> str:
    """'−0.012 [−0.020, −0.004]', in the measure's unit."""
    show = points if d.kind in SHARES else lambda value: _signed(value, SHOW[d.kind])
    known = math.isfinite(d.low) and math.isfinite(d.high)
    low, high = (max(d.low, -1), min(d.high, 1)) if d.kind in SHARES else (d.low, d.high)
    return mean_change(d) + (f" [{show(low)}, {show(high)}]" if known else "")


def _signed(value: float, show: Callable[[float], str]) -> str:
    if not math.isfinite(value):
        return DASH
    return ("−" if value < 0 else "+") + show(abs(value))


def _step(value: float) -> str:
    """0.1834 -> '183 ms'."""
    return f"{number(1000 * value)} ms" if math.isfinite(value) else DASH


def _whole(value: float) -> str:
    return f"{value:.0f}"


SHOW: dict[Kind, Callable[[float], str]] = {
    **{"kid": number, "diversity": number, "accuracy": percent, "training": seconds, "step": _step},
    **dict.fromkeys(SHARES, percent),
}
