"""The page over all sub-suites as sections, answers first; written as Markdown and as one HTML file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from urllib.parse import quote

from bench.analysis.datasets.effects import SubSuite, separate_sets
from bench.analysis.datasets.overall import Pooled
from bench.analysis.datasets.shift import Shifted
from bench.report.html.document import document
from bench.report.html.tables import VERDICTS, Markdown, definitions
from bench.report.pages.datasets.answers import answers
from bench.report.pages.datasets.chart import caption, described
from bench.report.pages.datasets.shift_chart import ALT, shift_caption
from bench.report.pages.datasets.shift_words import MEANING, shift_answers, shift_meaning, shift_parts
from bench.report.pages.datasets.tables import board, board_filters, board_rows, overall_parts
from bench.report.pages.datasets.words import called
from bench.report.sections.page import ALL, SUMMARY, Section
from bench.report.text import join, literal

PAGE, HTML_PAGE = "cross.md", "cross.html"
SUB_SUITES, SHIFT, HOW_TO = (
    "Sub-suites",
    "Performance drop under the shift, and effect of augmentation",
    "How to read it",
)
EVERY, EVERY_SUB_SUITE = "Every arm on every data set", "Every arm in every sub-suite"
CARRIES = {"holds": "holds", "on average": "average", "differs": "differs", "lower": "lower", "higher": "higher"}
OF_SHIFT = {"costs": "hurts", "easier": "helps", "helps more": "helps", "helps less": "hurts"}  # verdict -> CSS class
ONE = """\
A data set is one study: its mean paired difference and standard error are those of its report (patient-level
balanced accuracy: corrected resampled t test; KID: plain paired t test).
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
    "over few data sets are wide, and undecided does not mean no effect.\n"
)
ONE_SET = "Sub-suites of the same data set are not separate studies and are not combined.\n"


@dataclass(frozen=True)
class Figures:
    """Paths of the charts, relative to the page; None if not drawn."""

    forest: str | None
    shift: str | None = None


def cross_sections(
    sub_suites: Sequence[SubSuite],
    pooled: Sequence[Pooled],
    absent: Mapping[str, str],
    command: str,
    charts: Figures,
    shifted: tuple[Sequence[Shifted], Sequence[str]] = ((), ()),
) -> list[Section]:
    """Return the sections of both pages in order; ``shifted`` are the comparisons, and the reasons for missing ones."""
    compared, unpaired = shifted
    found = tuple(f"{text}\n" for text in (shift_answers(compared) | answers(sub_suites, pooled)).values())
    forest = _figure(charts.forest, caption(pooled), described(pooled))
    first = _figure(charts.shift, shift_caption(compared), ALT) or forest
    later = forest if first is not forest else _figure(None)
    every = EVERY if separate_sets(sub_suites) else EVERY_SUB_SUITE
    rows = board_rows(sub_suites, pooled)
    legend = "Accuracy is patient-level and in %, its differences are in points.\n"
    parts = [
        Section(SUMMARY, found, figures=first.captions, alts=first.alts),
        Section(SUMMARY, first.markdown, where="markdown"),
        Section(SUB_SUITES, (_sub_suites(sub_suites, "leaderboard.md"),), where="markdown"),
        Section(SUB_SUITES, (_sub_suites(sub_suites, "report.html"),), where="html"),
        Section(SHIFT, shift_parts(compared), undefined=("Verdict",)),
        Section("Overall", overall_parts(pooled)),
        Section(every, (legend, board(rows, once=True), *later.markdown) if rows else (), where="markdown"),
        Section(
            every,
            (legend, board(rows, once=False)) if rows else (),
            figures=later.captions,
            alts=later.alts,
            where="html",
            filters=board_filters(rows),
        ),
        Section("What is missing", (_missing(sub_suites, pooled, absent, unpaired),), undefined=ALL),
        Section(HOW_TO, _how(sub_suites, pooled, compared)),
        Section("Command", (f"```\n{command}\n```\n",)),
    ]
    return [s for s in parts if s.parts]


@dataclass(frozen=True)
class _Figure:
    captions: Mapping[str, str]
    alts: Mapping[str, str]

    @property
    def markdown(self) -> tuple[str, ...]:
        return tuple(f"![{self.alts[path]}]({path})\n\n{text}\n" for path, text in self.captions.items())


def _figure(path: str | None, text: str = "", alt: str = "") -> _Figure:
    return _Figure({path: text} if path else {}, {path: alt} if path else {})


def cross_html(about: str, found: Sequence[Section], folder: Path) -> str:
    """Return ``cross.html`` with the title ``about``; figure paths are relative to ``folder``."""
    notes = definitions("".join(part for s in found if s.title == HOW_TO for part in s.parts))
    writer = Markdown(notes, {word: word for word in VERDICTS} | CARRIES | OF_SHIFT)
    style = (files("bench.report.pages.datasets") / "style.css").read_text(encoding="utf-8")
    return document(about, found, writer, folder, style=style)


def title(name: str, sub_suites: Sequence[SubSuite], compared: Sequence[Shifted]) -> str:
    """Return the title of both pages: the question of the sub-suites."""
    if compared:
        return f"{name}: how large is the performance drop under the shift, and does augmentation reduce it?"
    question = "does a gain hold across data sets?" if separate_sets(sub_suites) else "comparison of its sub-suites"
    return f"{name}: {question}"


def _sub_suites(sub_suites: Sequence[SubSuite], file: str) -> str:
    return "".join(f"- {_described(m, file)}\n" for m in sub_suites)


def _described(m: SubSuite, file: str) -> str:
    kind = f" ({literal(m.modality)})" if m.modality else ""
    data = f"{literal(' / '.join(m.classes))}, {m.images} images of {m.groups}; {literal(m.protocol)}"
    return f"**{m.name}**: `{m.dataset}`{kind}, {data}; [report](../{quote(m.suite)}/{file})"


def _how(sub_suites: Sequence[SubSuite], pooled: Sequence[Pooled], compared: Sequence[Shifted]) -> tuple[str, ...]:
    overall = bool(overall_parts(pooled))
    notes = OF_EACH | (OVERALL if overall else {})
    shift = (shift_meaning(compared), _listed(MEANING)) if shift_parts(compared) else ()
    return (*shift, ONE, _listed(notes), *((LIMITS,) if overall else () if separate_sets(sub_suites) else (ONE_SET,)))


def _listed(notes: Mapping[str, str]) -> str:
    return "".join(f"- **{head}**: {text}\n" for head, text in notes.items())


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
    return "".join(f"- {text}\n" for text in found) or "Nothing: every arm has all pairs on every data set.\n"
