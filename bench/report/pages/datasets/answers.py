"""The answers as text: one or two sentences for each measure."""

from __future__ import annotations

from collections.abc import Sequence

from bench.analysis.datasets.effects import MEASURES, Measure, SubSuite, separate_sets
from bench.analysis.datasets.overall import Pooled
from bench.report.pages.datasets.words import called, size_of, unit_of
from bench.report.text import count, join, p_value
from bench.stats.meta_analysis import FEWEST

ASKED: dict[Measure, str] = {
    "gain": "Does the gain over `none` hold on all imaging modalities?",
    "from_scratch": "Does the effect of transfer learning on accuracy hold?",
    "kid": "Does its effect on image fidelity (KID, lower is better) hold?",
}
SIDE_BY_SIDE: dict[Measure, str] = {  # sub-suites of one data set are not separate studies and are not combined
    "gain": "The gain over `none` in each sub-suite",
    "from_scratch": "The effect of transfer learning on accuracy in each sub-suite",
    "kid": "The effect of transfer learning on image fidelity (KID, lower is better) in each sub-suite",
}


def answers(sub_suites: Sequence[SubSuite], pooled: Sequence[Pooled]) -> dict[str, str]:
    """Return the answer for each measure; measures without results in any sub-suite are omitted."""
    found: dict[str, str] = {}
    for measure in MEASURES:
        mine = [p for p in pooled if p.at.measure == measure]
        if mine and not separate_sets(sub_suites):
            found[measure] = f"**{SIDE_BY_SIDE[measure]}.** {_alone(mine)}"
        elif mine:
            found[measure] = f"**{ASKED[measure]}** {_answer(mine)}"
    return found or {"none": "No sub-suite has a result yet."}


def _answer(mine: Sequence[Pooled]) -> str:
    able = [p for p in mine if p.found.studies >= FEWEST]
    if not able:
        few = f"A combined result needs at least {FEWEST} data sets with an interval."
        return f"{_alone(mine)} {few}"
    sets = max(p.found.studies for p in able)
    decided = [p for p in able if p.word != "undecided"]
    said = [f"{called(p)} {p.word} ({size_of(p, unit_of(p))}; **{p.carries}**)" for p in decided]
    parts = [f"Over {count(sets, 'data set')}: {join(said)}." if said else f"Over {count(sets, 'data set')}:"]
    rest = [p for p in able if p.word == "undecided"]
    if rest:
        split = [called(p) for p in rest if p.carries == "differs"]
        best = min(rest, key=lambda p: p.found.p)
        near = f"{'lowest p: ' if len(rest) > 1 else ''}{called(best)}, {size_of(best, unit_of(best))}"
        which = f"{'the other' if decided else 'all'} {len(rest)} comparisons are"
        which = which if len(rest) > 1 else "the only other comparison is" if decided else "the only comparison is"
        contradict = f"; the data sets contradict each other for {join(split)}" if split else ""
        parts.append(f"{which} **undecided** ({near}, p Holm {p_value(best.p_adjusted)}){contradict}.")
    apart = [called(p) for p in able if p.found.p_alike < 0.05]
    if apart:
        parts.append(f"The data sets are heterogeneous (Cochran's Q, p < 0.05, uncorrected) for {join(apart)}.")
    return " ".join(p[0].upper() + p[1:] if i and parts[i - 1].endswith(".") else p for i, p in enumerate(parts))


def _alone(mine: Sequence[Pooled]) -> str:
    """Return the verdicts of single sub-suites, if there is no combined result."""
    sure = [
        f"{called(p)} {e.word} on {name}"
        for p in mine for name, e in p.effects if e.word != "undecided"
    ]  # fmt: skip
    return f"Verdicts of single sub-suites: {join(sure)}." if sure else "No single sub-suite has a decided verdict."
