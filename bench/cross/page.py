"""The page over all members as sections, the answers first; written as Markdown and as one HTML file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from urllib.parse import quote

from bench.cross.answers import answers
from bench.cross.chart import caption, described
from bench.cross.effects import Member
from bench.cross.tables import board, board_filters, board_rows, together_parts
from bench.cross.together import Pooled
from bench.cross.words import called
from bench.report.html.document import document
from bench.report.html.tables import VERDICTS, Markdown, definitions
from bench.report.sections.page import ALL, SUMMARY, Section, markdown_page
from bench.report.sections.text import join

PAGE, HTML_PAGE = "cross.md", "cross.html"
MEMBERS, EVERY, HOW_TO = "The members", "Every arm on every data set", "How to read it"
CARRIES = {"holds": "holds", "on average": "average", "differs": "differs", "lower": "lower", "higher": "higher"}
ONE = """\
A data set is one study: its mean paired difference and standard error are those of its own report (patient-level
balanced accuracy, corrected resampled t; KID by a plain paired t).
"""
OF_EACH = {
    "Accuracy": "patient-level balanced accuracy in %, mean over folds and repeats.",
    "− none": "the arm minus `none` in the same folds and repeats, in points, with its 95 % interval.",
    "− twin": "accuracy minus that of the same method with random in the place of transferred weights, in points.",
    "KID − twin": "how far synthetic images are from real ones, minus the same for that twin's; below 0 is better.",
    "Verdict": "that of the data set's own report.",
    "Pairs": "folds and repeats in which both sides were measured.",
}
TOGETHER = {
    "Verdict": "of a data set that of its own report; of all together that of the mean, corrected by Holm over the "
    "arms with one classifier.",
    "Mean": "the random-effects mean over data sets (DerSimonian & Laird 1986) with the Hartung–Knapp interval (95 %), "
    "never narrower than the sets' own errors allow.",
    "Next": "where the effect on one more data set of this sort is expected (95 % prediction interval).",
    "Carries over": "an arm **holds** when the mean is decided and *next* leaves out zero too; it is decided **on "
    "average** when only the mean is; it **differs** when sets contradict each other and the mean is undecided.",
    "τ": "how far true effects lie apart between sets (sd).",
    "I²": "their share of what is seen to vary.",
    "p Holm": "of the mean against zero, corrected as the verdict.",
    "p alike": "Cochran's Q: how easily sets would lie this far apart if one effect held on all; uncorrected.",
}
LIMITS = (
    "The sets are few and were not drawn at random, and each error is itself estimated from few folds: an interval "
    "over so few sets is wide for a reason, and undecided is not the same as no effect.\n"
)
ONE_SET = "Members of one and the same data set are no studies of their own, and are not combined.\n"


def cross_sections(
    members: Sequence[Member],
    pooled: Sequence[Pooled],
    absent: Mapping[str, str],
    command: str,
    figure: str | None,
) -> list[Section]:
    """Return the sections of both pages in their order; ``figure`` is the chart's path from their folder."""
    found = tuple(f"{text}\n" for text in answers(members, pooled).values())
    figures = {figure: caption(pooled)} if figure else {}
    alts = dict.fromkeys(figures, described(pooled))
    shown = tuple(f"![{alts[path]}]({path})\n\n{text}\n" for path, text in figures.items())
    rows = board_rows(members, pooled)
    legend = "Accuracy is patient-level and in %, its differences are in points.\n"
    parts = [
        Section(SUMMARY, found, figures=figures, alts=alts),
        Section(SUMMARY, shown, where="markdown"),
        Section(MEMBERS, (_members(members, "leaderboard.md"),), where="markdown"),
        Section(MEMBERS, (_members(members, "report.html"),), where="html"),
        Section("All together", together_parts(pooled)),
        Section(EVERY, (legend, board(rows, once=True)) if rows else (), where="markdown"),
        Section(EVERY, (legend, board(rows, once=False)) if rows else (), where="html", filters=board_filters(rows)),
        Section("What is missing", (_missing(members, pooled, absent),), undefined=ALL),
        Section(HOW_TO, _how(members, pooled)),
        Section("Again", (f"```\n{command}\n```\n",)),
    ]
    return [s for s in parts if s.parts]


def cross_markdown(name: str, members: Sequence[Member], found: Sequence[Section]) -> str:
    """Return ``cross.md``."""
    return markdown_page(_title(name, members), found, HTML_PAGE)


def cross_html(name: str, members: Sequence[Member], found: Sequence[Section], folder: Path) -> str:
    """Return ``cross.html``; ``folder`` is where figures' paths start."""
    notes = definitions("".join(part for s in found if s.title == HOW_TO for part in s.parts))
    writer = Markdown(notes, {word: word for word in VERDICTS} | CARRIES)
    style = (files("bench.cross") / "style.css").read_text(encoding="utf-8")
    return document(_title(name, members), found, writer, folder, style=style)


def _title(name: str, members: Sequence[Member]) -> str:
    return f"{name}: {'does a gain hold across data sets?' if _apart(members) else 'its members side by side'}"


def _apart(members: Sequence[Member]) -> bool:
    """Tell whether each member is a data set of its own."""
    return len({m.dataset for m in members}) == len(members)


def _members(members: Sequence[Member], file: str) -> str:
    return "".join(f"- {_described(m, file)}\n" for m in members)


def _described(m: Member, file: str) -> str:
    kind = f" ({m.modality})" if m.modality else ""
    data = f"{' / '.join(m.classes)}, {m.images} images of {m.groups}; {m.protocol}"
    return f"**{m.name}**: `{m.dataset}`{kind}, {data}; [its own report](../{quote(m.suite)}/{file})"


def _how(members: Sequence[Member], pooled: Sequence[Pooled]) -> tuple[str, ...]:
    together = bool(together_parts(pooled))
    notes = OF_EACH | (TOGETHER if together else {})
    listed = "".join(f"- **{head}**: {text}\n" for head, text in notes.items())
    return (ONE, listed, *((LIMITS,) if together else () if _apart(members) else (ONE_SET,)))


def _missing(members: Sequence[Member], pooled: Sequence[Pooled], absent: Mapping[str, str]) -> str:
    found = [f"{name}: the whole member ({reason})" for name, reason in absent.items()]
    found += [f"{m.name}: {text}" for m in members for text in m.missing]
    found += [f"{name}: {called(p)} ({p.at.measure}) has no interval" for p in pooled for name in p.left_out]
    has = {p.at: {name for name, _ in p.effects} for p in pooled}
    lacks = {at: [m.name for m in members if m.name not in names] for at, names in has.items()}
    found += [f"{join(names)}: `{at.arm}` ({at.measure}) was not measured" for at, names in lacks.items() if names]
    return "".join(f"- {text}\n" for text in found) or "Nothing: every arm has every pair on every data set.\n"
