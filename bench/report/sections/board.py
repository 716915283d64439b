"""The leaderboard over all classifiers, beside the main figure: verdict, difference, score and cost of each arm."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from bench.analysis.info import ReportInfo
from bench.analysis.lines import Line
from bench.analysis.quality import collapsed, wrong_labels
from bench.analysis.report import Records
from bench.report.content import Block, Details, Section, Table, charts
from bench.report.sections.leaderboard import (
    HEADS,
    LOW_DIVERSITY,
    WRONG_LABELS,
    arm_name,
    difference,
    rank,
    score_column,
    score_terms,
    scores_caption,
    sort_lines,
    verdict_terms,
    word,
)
from bench.report.text import DASH, points, seconds


def sections(records: Records, info: ReportInfo) -> Iterator[Section]:
    """Yield the leaderboard and its figure."""
    if not info.classifiers:
        return
    caption = _caption(records.lines, info) if records.lines else ""
    blocks: list[Block] = [caption, replace(board(records, info), caption=caption)] if caption else []
    if overview := verdict_overview(records.lines, info):
        blocks.append(Details("Verdicts and mean differences to `none`, by classifier", (overview,)))
    terms = score_terms(info) | verdict_terms(info)
    main = charts("curve" if getattr(records, "curve", ()) else "forest")  # the learning curve, if the run has one
    yield Section("Leaderboard", tuple(blocks), 10, False, terms, main, beside=True)


def board(records: Records, info: ReportInfo) -> Table:
    """Return one table of all lines, best primary score first; the best score of each classifier is bold.

    Arms whose generator has collapsed, or whose images have wrong labels, are marked.
    """
    lines, marks = records.lines, dict.fromkeys(collapsed(records.quality), LOW_DIVERSITY)
    for method in wrong_labels(records.quality):
        marks[method] = marks.get(method, "") + WRONG_LABELS
    found: list[tuple[float, tuple[str, ...]]] = []
    heads: list[str] = []
    for name in info.classifiers:
        mine = sort_lines([x for x in lines if x.classifier == name])
        columns = _columns(mine, name, info, marks)
        heads = list(columns)
        ranks = [rank(x) for x in mine]
        found += zip(ranks, zip(*columns.values(), strict=True), strict=True)
    table = Table.of(heads, [row for _, row in sorted(found, key=lambda item: item[0])], 3, "Leaderboard")
    several = len(info.classifiers) > 1
    hidden = [*([] if several else ["Classifier"]), *(["Pairs"] if _whole(lines) else [])]
    return replace(table.without(*hidden), filters=("Verdict", "Classifier") if several else ("Verdict",))


def _columns(
    lines: Sequence[Line], classifier: str, info: ReportInfo, marks: Mapping[str, str]
) -> dict[str, list[str]]:
    versus = [x.versus.get("none", {}).get(x.primary) for x in lines]
    beside = "auroc" if info.endpoint == "balanced_accuracy" else "balanced_accuracy"
    main, other = ([x.scores[info.unit.prefix + score] for x in lines] for score in (info.endpoint, beside))
    return {
        "Arm": [arm_name(x.arm) + marks.get(x.arm.method, "") for x in lines],
        "Classifier": [classifier] * len(lines),
        "Verdict": [word(v) if v else DASH for v in versus],
        "Difference": [difference(v) if v else DASH for v in versus],
        HEADS[info.endpoint]: score_column(lines, main, sd=False, lower=info.unit.lower_is_better),
        HEADS[beside]: score_column(lines, other, sd=False, ends=False),
        "Training": [seconds(x.total_s) if x.total_s else DASH for x in lines],
        "Pairs": [f"{x.pairs} of {x.planned}" for x in lines],
    }


def verdict_overview(lines: Sequence[Line], info: ReportInfo) -> Table | None:
    """Return the verdicts against `none`, one column for each classifier; None with fewer than two classifiers."""
    found = {(x.arm, x.classifier): x.verdict("none") for x in lines if "none" in x.versus}
    if len({c for _, c in found}) < 2:
        return None
    arms = [a for a in info.arms if any((a, c) in found for c in info.classifiers)]
    said = {at: f"{word(v)} {points(v.difference)}" for at, v in found.items()}
    rows = [[arm_name(a), *(said.get((a, c), DASH) for c in info.classifiers)] for a in arms]
    return Table.of(["Arm", *info.classifiers], rows, title="Verdicts by classifier")


def _whole(lines: Sequence[Line]) -> bool:
    return all(x.pairs == x.planned for x in lines)


def _caption(lines: Sequence[Line], info: ReportInfo) -> str:
    pairs = f" Every arm has all {lines[0].planned} pairs." if _whole(lines) else ""
    note = f" {info.unit.note}" if info.unit.note else ""
    return f"{scores_caption(info, sd=False)} Differences are to `none`, in points.{pairs}{note}"
