"""Custom metrics of the suite: their definitions, then a table for each classifier."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from bench.analysis.custom_metrics import OwnScore
from bench.analysis.info import ReportInfo
from bench.analysis.report import Records
from bench.report.content import Block, Section, Table
from bench.report.sections.leaderboard import arm_name
from bench.report.text import DASH, literal, mean_sd, number, p_value, signed, with_interval
from bench.types import Measure

_CAPTION = (
    "Means ± sd over pairs, and the paired difference to `none` [95 % interval] by the test of the verdicts above: "
    "*helps* and *hurts* at 5 %, Holm-corrected over the arms with one classifier and metric, not over metrics. "
    "No result is called equivalent, because no margin is defined for these metrics."
)


def sections(records: Records, info: ReportInfo) -> Iterator[Section]:
    """Yield definitions and a table for each classifier; nothing if the suite has no custom metrics."""
    found = records.own_metrics
    if not found:
        return
    blocks: list[Block] = ["".join(f"- {_meaning(name, m)}\n" for name, m in info.measures.items()), _CAPTION]
    for classifier in dict.fromkeys(x.classifier for x in found):
        blocks += [f"With {classifier}:", _table([x for x in found if x.classifier == classifier])]
    yield Section("Custom metrics", tuple(blocks), 60, appendix=False)


def _meaning(name: str, measure: Measure) -> str:
    """'`expected_cost`: lower is better, cost of a decision, from 0 to 5.'"""
    unit = f", {literal(measure.unit)}" if measure.unit else ""
    low, high = measure.low, measure.high
    bounds = f", from {low:g}" if math.isfinite(low) else ""
    bounds += f"{'' if bounds else ','} to {high:g}" if math.isfinite(high) else ""
    return f"`{name}`: {measure.better} is better{unit}{bounds}."


def _table(found: Sequence[OwnScore]) -> Table:
    columns = {
        "Metric": [f"`{x.metric}`" for x in found],
        "Arm": [arm_name(x.arm) for x in found],
        "Verdict": [f"**{x.word}**" if x.word in ("helps", "hurts") else x.word or DASH for x in found],
        "Mean ± sd": [mean_sd(x.score.mean, x.score.sd, number) for x in found],
        "Difference": [with_interval(x.difference, x.low, x.high, signed) for x in found],
        "p Holm": [p_value(x.p_adjusted) for x in found],
        "Pairs": [f"{x.score.n} of {x.planned}" for x in found],
    }
    return Table.by_column(columns, 3, f"Custom metrics: {found[0].classifier}")
