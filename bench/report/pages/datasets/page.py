"""The page over all sub-suites as sections, answers first; written as Markdown and as one HTML file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from bench.analysis.datasets.effects import SubSuite, separate_sets
from bench.analysis.datasets.overall import Pooled
from bench.analysis.datasets.shift import Shifted
from bench.report.content import Block, Section, listed
from bench.report.html.document import document
from bench.report.html.tables import VERDICTS
from bench.report.pages.datasets.answers import answers
from bench.report.pages.datasets.chart import caption, described
from bench.report.pages.datasets.shift_chart import ALT, shift_caption
from bench.report.pages.datasets.shift_words import MEANING, shift_answers, shift_blocks, shift_meaning
from bench.report.pages.datasets.tables import board, board_rows, overall_blocks
from bench.report.pages.datasets.words import called
from bench.report.text import join, literal

PAGE, HTML_PAGE = "cross.md", "cross.html"
SUMMARY, HOW_TO = "Summary", "How to read it"
SHIFT = "Performance drop under the shift, and effect of augmentation"
LEGEND = "Accuracy is patient-level and in %, its differences are in points."
EVERY, EVERY_SUB_SUITE = "Every arm on every data set", "Every arm in every sub-suite"
CARRIES = {"holds": "holds", "on average": "average", "differs": "differs", "lower": "lower", "higher": "higher"}
OF_SHIFT = {"costs": "hurts", "easier": "helps", "helps more": "helps", "helps less": "hurts"}  # verdict -> CSS class
ONE = """\
A data set is one study: its mean paired difference and standard error are those of its report (score of
classifiers: test of its verdicts; KID: corrected resampled t test).
"""
OF_EACH = {
    "Accuracy": "patient-level balanced accuracy in %, mean over folds and repeats.",
    "− none": "the arm minus `none` in the same folds and repeats, in points, with its 95 % interval.",
    "− from-scratch": "accuracy minus that of the from-scratch counterpart: the same method with random instead of "
    "pretrained weights; in points.",
    "KID − from-scratch": "KID of the synthetic images minus that of the from-scratch counterpart; below 0 is better.",
    "Verdict": "as in the report of the data set.",
    "Pairs": "number of pairs (fold × repeat) in which both sides were measured.",
}
OVERALL = {
    "Verdict": "for a data set as in its report; overall that of the mean, corrected by Holm over the "
    "arms with one classifier.",
    "Mean": "the random-effects mean over data sets (DerSimonian & Laird 1986) with the Hartung–Knapp interval (95 %), "
    "never narrower than the standard errors of the data sets allow.",
    "Prediction interval": "95 % prediction interval of the effect on another data set of this kind.",
    "Generalises": "an effect **holds** if the mean is decided and the prediction interval excludes zero; it is "
    "decided **on average** if only the mean is; it **differs** if data sets contradict each other and the mean is "
    "undecided.",
    "τ": "standard deviation of the true effects between data sets.",
    "I²": "share of the observed variance that is due to differences between data sets.",
    "p Holm": "of the mean against zero, corrected as the verdict.",
    "p homogeneity": "Cochran's Q test of equal effects on all data sets; uncorrected.",
}
LIMITS = (
    "The data sets are few and not a random sample, and each standard error is estimated from few folds. Intervals "
    "over few data sets are wide, and undecided does not mean no effect."
)
ONE_SET = "Sub-suites of the same data set are not separate studies and are not combined."


@dataclass(frozen=True)
class Figures:
    """Paths of the charts, relative to the page; None if not drawn."""

    forest: str | None
    shift: str | None = None


def cross_dataset_sections(
    sub_suites: Sequence[SubSuite],
    pooled: Sequence[Pooled],
    absent: Mapping[str, str],
    command: str,
    charts: Figures,
    shifted: tuple[Sequence[Shifted], Sequence[str]] = ((), ()),
) -> list[Section]:
    """Return the sections of both pages in order; ``shifted`` are the comparisons, and the reasons for missing ones."""
    compared, unpaired = shifted
    found = tuple((shift_answers(compared) | answers(sub_suites, pooled)).values())
    forest = ({charts.forest: caption(pooled)}, {charts.forest: described(pooled)}) if charts.forest else ({}, {})
    shift = ({charts.shift: shift_caption(compared)}, {charts.shift: ALT}) if charts.shift else ({}, {})
    first, later = (shift, forest) if charts.shift else (forest, ({}, {}))
    every = EVERY if separate_sets(sub_suites) else EVERY_SUB_SUITE
    rows = board_rows(sub_suites, pooled)
    terms = _terms(sub_suites, pooled, compared)
    parts = [
        _section(SUMMARY, found, figures=first[0], alts=first[1]),
        _section("Sub-suites", (_sub_suites(sub_suites),)),
        _section(SHIFT, shift_blocks(compared), definitions={k: v for k, v in terms.items() if k != "Verdict"}),
        _section("Overall", overall_blocks(pooled), definitions=terms),
        _section(every, (LEGEND, board(rows)) if rows else (), definitions=terms, figures=later[0], alts=later[1]),
        _section("What is missing", (_missing(sub_suites, pooled, absent, unpaired),)),
        _section(HOW_TO, _how(sub_suites, pooled, compared)),
        _section("Command", (f"```\n{command}\n```",)),
    ]
    return [s for s in parts if s.blocks]


def _section(title: str, blocks: Sequence[Block], **fields: Any) -> Section:
    return Section(title, tuple(blocks), appendix=False, **fields)


def cross_dataset_html(about: str, found: Sequence[Section], folder: Path) -> str:
    """Return ``cross.html`` with the title ``about``; figure paths are relative to ``folder``."""
    return document(about, found, folder, verdicts={**VERDICTS, **CARRIES, **OF_SHIFT}, style="datasets.css")


def title(name: str, sub_suites: Sequence[SubSuite], compared: Sequence[Shifted]) -> str:
    """Return the title of both pages: the question of the sub-suites."""
    if compared:
        return f"{name}: how large is the performance drop under the shift, and does augmentation reduce it?"
    question = "does a gain hold across data sets?" if separate_sets(sub_suites) else "comparison of its sub-suites"
    return f"{name}: {question}"


def _sub_suites(sub_suites: Sequence[SubSuite]) -> str:
    return "".join(f"- {_described(m)}\n" for m in sub_suites)


def _described(m: SubSuite) -> str:
    kind = f" ({literal(m.modality)})" if m.modality else ""
    folder = f"../{quote(m.suite)}"
    links = f"[report]({folder}/report.html), [leaderboard]({folder}/leaderboard.md)"
    data = f"{literal(' / '.join(m.classes))}, {m.images} images of {m.groups}; {literal(m.protocol)}"
    return f"**{m.name}**: `{m.dataset}`{kind}, {data}; {links}"


def _terms(sub_suites: Sequence[SubSuite], pooled: Sequence[Pooled], compared: Sequence[Shifted]) -> dict[str, str]:
    return (MEANING if shift_blocks(compared) else {}) | OF_EACH | (OVERALL if overall_blocks(pooled) else {})


def _how(sub_suites: Sequence[SubSuite], pooled: Sequence[Pooled], compared: Sequence[Shifted]) -> list[Block]:
    blocks: list[Block] = [shift_meaning(compared)] if shift_blocks(compared) else []
    blocks += [ONE, listed(_terms(sub_suites, pooled, compared))]
    if overall_blocks(pooled):
        return [*blocks, LIMITS]
    return blocks if separate_sets(sub_suites) else [*blocks, ONE_SET]


def _missing(
    sub_suites: Sequence[SubSuite], pooled: Sequence[Pooled], absent: Mapping[str, str], unpaired: Sequence[str]
) -> str:
    found = [f"{name}: the whole sub-suite ({literal(reason)})" for name, reason in absent.items()]
    found += unpaired
    found += [f"{m.name}: {literal(text)}" for m in sub_suites for text in m.missing]
    found += [f"{name}: {called(p)} ({p.at.measure}) has no interval" for p in pooled for name in p.left_out]
    has = {p.at: {name for name, _ in p.effects} for p in pooled}
    lacks = {at: [m.name for m in sub_suites if m.name not in names] for at, names in has.items()}
    found += [f"{join(names)}: `{at.arm}` ({at.measure}) was not measured" for at, names in lacks.items() if names]
    return "".join(f"- {text}\n" for text in found) or "Nothing: every arm has all pairs on every data set."
