"""Whether the effect of transfer learning is the same on other modalities: this run compared with other reports."""

from __future__ import annotations

import math
from collections.abc import Sequence

from bench.analysis.info import OtherFinding, ReportInfo
from bench.analysis.questions import Question
from bench.report.sections.leaderboard import arm_name
from bench.report.text import count, interval, join, number, points, table
from bench.suite.arms import Arm

MEASURES = {"kid": "KID against test images", "accuracy": "accuracy"}
NEITHER = "Decided on one data set and undecided on another does not show a difference between them."


def other_dataset_parts(q: Question, info: ReportInfo) -> list[str]:
    """Return the comparison over data sets, or why there is only one."""
    if not q.other_findings:
        return [_alone(info)]
    found = [*_own(q, info), *q.other_findings]
    sets = {c.dataset: c.modality for c in found}
    parts = [f"{_lead(found, sets, info)}\n"]
    parts += [f"{_said(kind, [c for c in found if c.kind == kind])} " for kind in MEASURES if _sets(found, kind)]
    return [parts[0], "".join(parts[1:]) + f"{NEITHER}\n", _table(found)]


def _own(q: Question, info: ReportInfo) -> list[OtherFinding]:
    found = []
    for d in (f.difference for f in q.findings):
        at = (info.suite, info.dataset, info.modality, d.arm.method, d.reference, d.kind, d.classifier)
        found.append(OtherFinding(*at, d.arm.variant if d.classifier else "", d.mean, d.low, d.high, d.word, d.pairs))
    return found


def _alone(info: ReportInfo) -> str:
    kind = f" ({info.modality})" if info.modality else ""
    text = f"**This run cannot answer it**: it has one data set, `{info.dataset}`{kind}."
    others = [f"`{name}` ({m})" for name, m in info.modalities.items() if m != info.modality]
    wanted = f", such as {join(others, 'or')}" if others else ""
    return (
        f"{text} A second modality is needed{wanted}: run a two-class suite on it, with the same from-scratch "
        "counterparts, into this output folder. The next report of either suite then compares both here.\n"
    )


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


def _table(found: Sequence[OtherFinding]) -> str:
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
    return table(list(columns), zip(*columns.values(), strict=True), left=6)


def _difference(c: OtherFinding) -> str:
    if c.kind == "accuracy":
        return f"{points(c.difference)} {interval(max(c.low, -1), min(c.high, 1), signed=True)}".strip()
    ends = f" [{_signed(c.low)}, {_signed(c.high)}]" if math.isfinite(c.low) and math.isfinite(c.high) else ""
    return _signed(c.difference) + ends


def _signed(value: float) -> str:
    return ("−" if value < 0 else "+") + number(abs(value))
