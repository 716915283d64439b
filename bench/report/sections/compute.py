"""The compute-matched comparison: device time of each arm, and what the references reach with the same time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench.analysis.compute import Charged, Match
from bench.analysis.info import ReportInfo
from bench.analysis.report import Records
from bench.report.content import Block, Section, Table
from bench.report.sections.leaderboard import HEADS, arm_name, difference, word
from bench.report.text import DASH, bold_best, count, interval, join, p_value, percent, points, seconds
from bench.suite.suite import REFERENCES

NAMED = 4  # arms in one sentence
SHORT = 2 / 3  # of an arm's device time: a reference trained for less is not compute-matched


TERMS = {
    "Device time, Of which tuning": (
        "over all folds: training of the generator, synthesis, training of the classifier, and hyperparameter tuning "
        "if there was any (`bench tune`). Seconds for which the GPU was allocated, or CPU time. The full cost of a "
        "generator is counted for each of its arms."
    ),
    "On the Pareto front": "no cheaper arm has an equal or better mean; means only, see the intervals.",
    "Reference, Reference device time": (
        "the reference with the closest device time, of the step multipliers set in the suite. Differences, verdicts "
        "and p as in the leaderboard, with Holm's correction over these arms."
    ),
}


def sections(records: Records, info: ReportInfo) -> Iterator[Section]:
    """Yield the tables of the compute-matched comparison; nothing if no reference was trained with more steps."""
    blocks: list[Block] = []
    for classifier in info.classifiers:
        mine = [m for m in records.matches if m.classifier == classifier]
        if not mine:
            continue
        blocks += [f"### {classifier}"] if len(info.classifiers) > 1 else []
        blocks.append(_charges([x for x in records.charged if x.classifier == classifier], info))
        for reference in REFERENCES:
            beside = [m for m in mine if m.reference.method == reference]
            if beside:
                blocks += [text for text in [_unmatched(beside, reference, info)] if text]
                blocks.append(f"Compared with the compute-matched `{reference}`, differences in points:")
                blocks.append(_table(beside, f"Compute-matched {reference}: {classifier}"))
    yield Section("Compute-matched comparison", tuple(blocks), 130, definitions=TERMS if blocks else {})


def compute_sentences(found: Sequence[Match], info: ReportInfo) -> Iterator[str]:
    """Yield a sentence for each classifier and reference: which generative arms are worth their compute."""
    for classifier in info.classifiers:
        mine = [m for m in found if m.classifier == classifier]
        named = f"**{classifier}**: " if len(info.classifiers) > 1 else ""
        yield from (f"{named}{text}" for r in REFERENCES if (text := _sentence(mine, r, info)))


def _sentence(found: Sequence[Match], reference: str, info: ReportInfo) -> str:
    """Return which generative arms are worth their compute, compared with a reference trained for the same time."""
    beside = [m for m in found if m.reference.method == reference and m.arm.method in info.generative]
    if not beside:
        return ""
    words = {w: [m for m in beside if m.verdict.word == w] for w in ("helps", "hurts", "equivalent")}
    said = [f"**{w}**: {_named(some)}" for w, some in words.items() if some]
    rest = len(beside) - sum(map(len, words.values()))
    said += [f"**undecided**: {rest if said else 'all of them'}"] if rest else []
    arms = count(len(beside), "generative arm")
    text = f"Compared with `{reference}` trained for as much device time, {arms}: {'; '.join(said)}."
    if short := _short(beside, info):
        text += f" {len(short)} of them had over 1.5 times its device time (see the appendix)."
    return text


def _short(found: Sequence[Match], info: ReportInfo) -> list[Match]:
    """Return the generative arms whose reference was trained for too little device time to be compute-matched."""
    return [m for m in found if m.arm.method in info.generative and m.reference_s < SHORT * m.charged_s]


def _unmatched(found: Sequence[Match], reference: str, info: ReportInfo) -> str:
    short = _short(found, info)
    if not short:
        return ""
    return (
        f"`{reference}` was trained for less than two thirds of the device time of "
        f"{join(arm_name(m.arm) for m in short)}: for a compute-matched comparison add a larger multiplier to the "
        "suite's setting `train_multipliers`."
    )


def _named(found: Sequence[Match]) -> str:
    rest = [f"{len(found) - NAMED} more"] if len(found) > NAMED + 1 else []
    shown = found[:NAMED] if rest else found
    return join([f"{arm_name(m.arm)} ({points(m.verdict.difference)})" for m in shown] + rest)


def _charges(arms: Sequence[Charged], info: ReportInfo) -> Table:
    means = bold_best([x.mean for x in arms], [percent(x.mean) for x in arms], [True] * len(arms))
    columns = {
        "Arm": [arm_name(x.arm) for x in arms],
        "Device time": [seconds(x.charged_s) for x in arms],
        "Of which tuning": [seconds(x.tuned_s) if x.tuned_s else DASH for x in arms],
        HEADS[info.endpoint]: [f"{m} {interval(x.low, x.high)}".strip() for m, x in zip(means, arms, strict=True)],
        "On the Pareto front": ["yes" if x.on_front else "" for x in arms],
    }
    return Table.by_column(columns, title=f"Device time of each arm: {arms[0].classifier}", keep_empty=False)


def _table(found: Sequence[Match], title: str) -> Table:
    columns = {
        "Arm": [arm_name(m.arm) for m in found],
        "Verdict": [word(m.verdict) for m in found],
        "Difference": [difference(m.verdict) for m in found],
        "p Holm": [p_value(m.verdict.p_adjusted) for m in found],
        "Device time": [seconds(m.charged_s) for m in found],
        "Reference": [arm_name(m.reference) for m in found],
        "Reference device time": [seconds(m.reference_s) for m in found],
    }
    return Table.by_column(columns, 2, title)
