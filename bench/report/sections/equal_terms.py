"""All generative arms on equal terms: one table, part of the research questions."""

from __future__ import annotations

import math
from collections.abc import Sequence

from bench.analysis.equal_terms import ArmTerms
from bench.analysis.info import ReportInfo
from bench.analysis.rows import Score
from bench.report.content import Block, Table
from bench.report.sections.curve import curve_terms, worth_text
from bench.report.sections.leaderboard import LOW_DIVERSITY, WRONG_LABELS, arm_name, difference, verdict_terms, word
from bench.report.text import DASH, number, percent, seconds

TITLE = "Generative arms on equal terms"
UNTRAINED = " (untrained)"  # after the name of an arm whose generator is hardly better than noise


def terms_blocks(found: Sequence[ArmTerms], info: ReportInfo) -> list[Block]:
    """Return a caption and the table of all generative arms; [] without them."""
    return [_caption(found), _table(found, info)] if found else []


def definitions(info: ReportInfo) -> dict[str, str]:
    """Return the definitions of the table's columns; the leaderboard and the learning curve have the same."""
    terms = {"Device time": "of one generator and its synthetic images, per fold."}
    if info.classifiers:
        terms |= {"Difference": verdict_terms(info)["Difference"]}
    return terms | (curve_terms(info) if info.is_curve else {})


def _caption(found: Sequence[ArmTerms]) -> str:
    tag = next((x.extractor for x in found if x.extractor), "")
    kid = f"Sorted by KID (`{tag}`; in brackets: multiple of the real-vs-real baseline). "
    return f"{kid * bool(tag)}Coverage and memorised images in %."


def _table(found: Sequence[ArmTerms], info: ReportInfo) -> Table:
    columns = {
        "Arm": [_name(x) for x in found],
        "KID": [_kid(x) for x in found],
        "Coverage": [_share(x.coverage) for x in found],
        "Memorised": [_share(x.memorised) for x in found],
        "Device time": [seconds(x.device_s.mean) for x in found],
        "Tuning": [seconds(x.tuning_s) if x.tuning_s else DASH for x in found],
        "Steps": [f"{x.steps:,}" if x.steps else DASH for x in found],
    }
    for name in info.classifiers:
        of = f", {name}" if len(info.classifiers) > 1 else ""
        columns[f"Difference to `none`{of}"] = [_change(x, name) for x in found]
        columns[f"Worth in {info.unit.groups}{of}"] = [worth_text(x.worth(name)) for x in found]
    return Table.by_column(columns, title=TITLE, keep_empty=False)


def _name(x: ArmTerms) -> str:
    marks = UNTRAINED * x.untrained + LOW_DIVERSITY * x.collapsed + WRONG_LABELS * x.wrong_labels
    return arm_name(x.arm) + marks


def _kid(x: ArmTerms) -> str:
    return number(x.kid.mean) + (f" (×{number(x.kid_ratio)})" if math.isfinite(x.kid_ratio) else "")


def _share(score: Score) -> str:
    return percent(score.mean)


def _change(x: ArmTerms, classifier: str) -> str:
    c = x.change(classifier)
    return f"{word(c.verdict)} {difference(c.verdict)}" if c else DASH
