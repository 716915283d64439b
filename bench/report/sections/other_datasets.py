"""Whether the effect of transfer learning is the same on other modalities: this run compared with other reports."""

from __future__ import annotations

from collections.abc import Sequence

from bench.analysis.info import OtherFinding, ReportInfo
from bench.analysis.questions import Question
from bench.report.content import Block, Table
from bench.report.sections.leaderboard import arm_name
from bench.report.text import count, interval, join, points, signed, with_interval
from bench.suite.arms import Arm

MEASURES = {"kid": "KID against test images", "accuracy": "accuracy"}
NEITHER = "Decided on one data set and undecided on another does not show a difference between them."


def other_dataset_blocks(q: Question, info: ReportInfo) -> list[Block]:
    """Return the comparison over data sets; [] if there is only one."""
    if not q.other_findings:
        return []
    found = [*_own(q, info), *q.other_findings]
    sets = {c.dataset: c.modality for c in found}
    said = [_said(kind, [c for c in found if c.kind == kind]) for kind in MEASURES if _sets(found, kind)]
    return [_lead(found, sets, info), " ".join([*said, NEITHER]), _table(found)]


def _own(q: Question, info: ReportInfo) -> list[OtherFinding]:
    found = []
    for d in (f.difference for f in q.findings):
        at = (info.suite, info.dataset, info.modality, d.arm.method, d.reference, d.kind, d.classifier)
        found.append(OtherFinding(*at, d.arm.variant if d.classifier else "", d.mean, d.low, d.high, d.word, d.pairs))
    return found


def _lead(found: Sequence[OtherFinding], sets: dict[str, str], info: ReportInfo) -> str:
    if info.dataset not in sets:
        return (
            "**This run cannot answer it**: it has no result of its own to compare (see question 1). Results of the "
            f"other reports in its output folder, on {join(map(_set, found_sets(found)))}:"
        )
    kinds = set(sets.values())
    same = f", all of them {next(iter(kinds))}: another data set, but not another modality" if len(kinds) == 1 else ""
    return f"Effect of transfer learning on {join(map(_set, found_sets(found)))}{same}."


def found_sets(found: Sequence[OtherFinding]) -> list[tuple[str, str]]:
    """Return the data sets and their modalities, in the order of the records."""
    return list(dict.fromkeys((c.dataset, c.modality) for c in found))


def _set(at: tuple[str, str]) -> str:
    return f"`{at[0]}`" + (f" ({at[1]})" if at[1] else "")


def _sets(found: Sequence[OtherFinding], kind: str) -> set[str]:
    return {c.dataset for c in found if c.kind == kind}


def _said(kind: str, found: Sequence[OtherFinding]) -> str:
    """Return, for one measure, the verdict on each data set and whether they agree."""
    decided = {
        name: {c.word for c in found if c.dataset == name and c.word != "undecided"}
        for name in dict.fromkeys(c.dataset for c in found)
    }
    sure = {name: words for name, words in decided.items() if words}
    each = [f"{join(sorted(words)) if words else 'undecided'} on `{name}`" for name, words in decided.items()]
    words = set().union(*sure.values()) if sure else set()
    if len(sure) < 2:
        verdict = f"decided on {count(len(sure), 'data set')}, so whether it generalises is **undecided**"
    elif len(words) == 1:
        verdict = "it **generalises**" + (" to them" if len(sure) == len(decided) else " to those that are decided")
    else:
        verdict = "it does **not generalise** unchanged"
    return f"{MEASURES[kind].capitalize() if kind == 'accuracy' else MEASURES[kind]}: {', '.join(each)}; {verdict}."


def _table(found: Sequence[OtherFinding]) -> Table:
    columns = {
        "Data set": [_set((c.dataset, c.modality)) for c in found],
        "Suite": [f"`{c.suite}`" for c in found],
        "Arm": [arm_name(Arm.parse(c.method, c.ratio)) if c.ratio else f"`{c.method}`" for c in found],
        "Compared with": [f"`{c.from_scratch}`" for c in found],
        "Measure": [" ".join(filter(None, ("KID" if c.kind == "kid" else "accuracy", c.classifier))) for c in found],
        "Verdict": [c.word if c.word == "undecided" else f"**{c.word}**" for c in found],
        "Difference": [_difference(c) for c in found],
        "Pairs": [str(c.pairs) for c in found],
    }
    return Table.by_column(columns, 6, "Other data sets")


def _difference(c: OtherFinding) -> str:
    if c.kind == "accuracy":
        return f"{points(c.difference)} {interval(max(c.low, -1), min(c.high, 1), signed=True)}".strip()
    return with_interval(c.difference, c.low, c.high, signed)
