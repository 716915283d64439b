"""Whether what transfer learning changes is the same on other kinds of images: this run beside other reports."""

from __future__ import annotations

import math
from collections.abc import Sequence

from bench.analysis.info import Arm, OtherFinding, ReportInfo
from bench.analysis.questions import Question
from bench.report.sections.leaderboard import arm_name
from bench.report.text import count, interval, join, number, points, table

MEASURES = {"kid": "KID against test images", "accuracy": "accuracy"}
NEITHER = "Decided on one data set and undecided on another is no difference between them."


def other_dataset_parts(q: Question, info: ReportInfo) -> list[str]:
    """Return what the data sets say together, or why there is one alone."""
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
        found.append(OtherFinding(*at, d.arm.ratio if d.classifier else "", d.mean, d.low, d.high, d.word, d.pairs))
    return found


def _alone(info: ReportInfo) -> str:
    kind = f" ({info.modality})" if info.modality else ""
    text = f"**This run cannot answer it**: it has one data set, `{info.dataset}`{kind}."
    others = [f"`{name}` ({m})" for name, m in info.modalities.items() if m != info.modality]
    wanted = f", such as {join(others, 'or')}" if others else ""
    return (
        f"{text} It takes a second kind of images{wanted}: a suite of two classes of them with the same twins, run "
        "into this output folder. The next report of either suite then sets both beside each other here.\n"
    )


def _lead(found: Sequence[OtherFinding], sets: dict[str, str], info: ReportInfo) -> str:
    if info.dataset not in sets:
        return (
            "**This run cannot answer it**: it has nothing of its own to set beside others (see question 1). The other "
            f"reports in its output folder, on {join(map(_set, found_sets(found)))}, say:"
        )
    kinds = set(sets.values())
    same = (
        f", all of them {next(iter(kinds))}: another data set, but no other kind of images" if len(kinds) == 1 else ""
    )
    return f"What transfer learning changes on {join(map(_set, found_sets(found)))}{same}."


def found_sets(found: Sequence[OtherFinding]) -> list[tuple[str, str]]:
    """Return the data sets and their kinds of images, in the order of the records."""
    return list(dict.fromkeys((c.dataset, c.modality) for c in found))


def _set(at: tuple[str, str]) -> str:
    return f"`{at[0]}`" + (f" ({at[1]})" if at[1] else "")


def _sets(found: Sequence[OtherFinding], kind: str) -> set[str]:
    return {c.dataset for c in found if c.kind == kind}


def _said(kind: str, found: Sequence[OtherFinding]) -> str:
    """Say of one measure what each data set decides, and whether they agree."""
    decided = {
        name: {c.word for c in found if c.dataset == name and c.word != "undecided"}
        for name in dict.fromkeys(c.dataset for c in found)
    }
    sure = {name: words for name, words in decided.items() if words}
    each = [f"{join(sorted(words)) if words else 'undecided'} on `{name}`" for name, words in decided.items()]
    words = set().union(*sure.values()) if sure else set()
    if len(sure) < 2:
        verdict = f"decided on {count(len(sure), 'data set')}, so whether it carries over is **undecided**"
    elif len(words) == 1:
        verdict = "it **carries over**" + (" to them" if len(sure) == len(decided) else " to those that are decided")
    else:
        verdict = "it does **not carry over** as it is"
    return f"{MEASURES[kind].capitalize() if kind == 'accuracy' else MEASURES[kind]}: {', '.join(each)}; {verdict}."


def _table(found: Sequence[OtherFinding]) -> str:
    columns = {
        "Data set": [_set((c.dataset, c.modality)) for c in found],
        "Suite": [f"`{c.suite}`" for c in found],
        "Arm": [arm_name(Arm(c.method, c.ratio)) if c.ratio else f"`{c.method}`" for c in found],
        "Beside": [f"`{c.from_scratch}`" for c in found],
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
