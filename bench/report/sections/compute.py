"""The compute-matched comparison: device time of each arm, and what the references reach with the same time."""

from __future__ import annotations

import math
from collections.abc import Sequence

from bench.analysis.compute import Charged, Match
from bench.analysis.info import ReportInfo
from bench.report.sections.leaderboard import arm_name, difference, word
from bench.report.text import DASH, bold_best, count, interval, join, p_value, percent, points, seconds, table
from bench.suite.suite import REFERENCES

NAMED = 4  # arms in one sentence
SHORT = 2 / 3  # of an arm's device time: a reference trained for less is not compute-matched


def compute_section(arms: Sequence[Charged], found: Sequence[Match], info: ReportInfo) -> list[str]:
    """Return heading, sentences and tables; [] if no reference was trained with more steps."""
    if not found:
        return []
    parts = ["## Compute-matched comparison\n"]
    for classifier in info.classifiers:
        mine = [m for m in found if m.classifier == classifier]
        if not mine:
            continue
        parts += [f"### {classifier}\n"] if len(info.classifiers) > 1 else []
        parts += [f"{sentence}\n" for r in REFERENCES if (sentence := _sentence(mine, r, info))]
        parts.append(_charges([x for x in arms if x.classifier == classifier]))
        for reference in REFERENCES:
            beside = [m for m in mine if m.reference.method == reference]
            if beside:
                parts += [f"Compared with the compute-matched `{reference}`, differences in points:\n", _table(beside)]
    return parts


def _sentence(found: Sequence[Match], reference: str, info: ReportInfo) -> str:
    """Return which generative arms are worth their compute, compared with a reference trained for the same time."""
    beside = [m for m in found if m.reference.method == reference and m.arm.method in info.generative]
    if not beside:
        return ""
    words = {w: [m for m in beside if m.verdict.word == w] for w in ("helps", "hurts", "equivalent")}
    said = [f"**{w}**: {_named(some)}" for w, some in words.items() if some]
    rest = len(beside) - sum(map(len, words.values()))
    said += [f"**undecided**: {rest if said else 'all of them'}"] if rest else []
    never = [m for m in beside if math.isinf(m.match_s)]
    reached = len(beside) - len(never)
    text = (
        f"Compared with `{reference}` trained for as much device time, {count(len(beside), 'generative arm')}: "
        f"{'; '.join(said)}. `{reference}` reached the mean score of {reached} of them"
    )
    text += f", but never that of {_named(never)}." if never else "."
    short = [m for m in beside if m.reference_s < SHORT * m.charged_s]
    if short:
        text += (
            " It was trained for less than two thirds of the device time of "
            f"{join(arm_name(m.arm) for m in short[:NAMED])}{' and others' if len(short) > NAMED else ''}: for a "
            "compute-matched comparison add a larger multiplier to the setting `train_multipliers`."
        )
    return text


def _named(found: Sequence[Match]) -> str:
    rest = [f"{len(found) - NAMED} more"] if len(found) > NAMED + 1 else []
    shown = found[:NAMED] if rest else found
    return join([f"{arm_name(m.arm)} ({points(m.verdict.difference)})" for m in shown] + rest)


def _charges(arms: Sequence[Charged]) -> str:
    means = bold_best([x.mean for x in arms], [percent(x.mean) for x in arms], [True] * len(arms))
    columns = {
        "Arm": [arm_name(x.arm) for x in arms],
        "Device time": [seconds(x.charged_s) for x in arms],
        "Of which tuning": [seconds(x.tuned_s) if x.tuned_s else DASH for x in arms],
        "Bal. acc.": [f"{m} {interval(x.low, x.high)}".strip() for m, x in zip(means, arms, strict=True)],
        "On the Pareto front": ["yes" if x.on_front else "" for x in arms],
    }
    columns = {head: texts for head, texts in columns.items() if set(texts) != {DASH}}
    return table(list(columns), zip(*columns.values(), strict=True))


def _table(found: Sequence[Match]) -> str:
    columns = {
        "Arm": [arm_name(m.arm) for m in found],
        "Verdict": [word(m.verdict) for m in found],
        "Difference": [difference(m.verdict) for m in found],
        "p Holm": [p_value(m.verdict.p_holm) for m in found],
        "Device time": [seconds(m.charged_s) for m in found],
        "Reference": [arm_name(m.reference) for m in found],
        "Reference device time": [seconds(m.reference_s) for m in found],
        "Time to match": [_time_to_match(m) for m in found],
    }
    return table(list(columns), zip(*columns.values(), strict=True), left=2)


def _time_to_match(match: Match) -> str:
    return f"never within {seconds(match.most_s)}" if math.isinf(match.match_s) else seconds(match.match_s)
