"""Selection of synthetic images: what it alone brings, and what it costs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench.analysis.info import ReportInfo
from bench.analysis.report import Records
from bench.analysis.selected import Selected
from bench.report.content import Section, Table
from bench.report.sections.leaderboard import arm_name, difference, word
from bench.report.text import count, count_of, join, p_value, percent, points, seconds

WORDS = ("helps", "hurts", "equivalent")
TERMS = {
    "Selected − all": (
        "the arm with selected images minus the same arm without selection, in points [95 % interval of the verdict's "
        "test]. Holm's correction runs over all selections of a classifier."
    ),
    "Drawn, kept": "synthetic images of a pair: drawn for this arm, and kept for training.",
    "Memorised": (
        "share of the kept images that are flagged as memorised, in %; in brackets that of images without selection."
    ),
    "Drawing and scoring": (
        "device time of a pair; in brackets that of drawing without selection, once for all ratios. Features of the "
        "training images are computed once and then read from the cache."
    ),
}


def sections(records: Records, info: ReportInfo) -> Iterator[Section]:
    """Yield a sentence and a table, if the suite selects images."""
    if found := records.selected:
        yield Section(
            "Selection of synthetic images", (selection_sentence(found, info), _table(found, info)), 15, False, TERMS
        )


def selection_sentence(found: Sequence[Selected], info: ReportInfo) -> str:
    """Return one sentence on what selection alone brings."""
    words = {w: [s for s in found if s.comparison.verdict.word == w] for w in WORDS}
    phrases = [f"**{w}**: {join(_name(s, info) for s in of)}" for w, of in words.items() if of]
    undecided = len(found) - sum(map(len, words.values()))
    if not phrases:
        return (
            f"Against the same arm without selection, {info.unit.metric}, {count(len(found), 'comparison')}: "
            "**undecided** in all of them."
        )
    rest = f"; **undecided**: the other {undecided}." if undecided else "."
    return f"Against the same arm without selection, {info.unit.metric}: {'; '.join(phrases)}{rest}"


def _name(found: Selected, info: ReportInfo) -> str:
    c = found.comparison
    classifier = f", {c.classifier}" if len(info.classifiers) > 1 else ""
    return f"{c.arm.label}{classifier} ({points(c.verdict.difference)})"


def _table(found: Sequence[Selected], info: ReportInfo) -> Table:
    verdicts = [s.comparison.verdict for s in found]
    columns = {
        "Arm": [arm_name(s.comparison.arm) for s in found],
        "Classifier": [s.comparison.classifier for s in found],
        "Verdict": [word(v) for v in verdicts],
        "Selected − all": [difference(v) for v in verdicts],
        "p Holm": [p_value(v.p_adjusted) for v in verdicts],
        "Minimum detectable effect": [percent(v.minimum_detectable_effect) for v in verdicts],
        "Drawn": [count_of(s.drawn.mean) for s in found],
        "Kept": [count_of(s.images.mean) for s in found],
        "Memorised": [f"{percent(s.flagged.mean)} ({percent(s.reference_flagged.mean)})" for s in found],
        "Drawing and scoring": [f"{seconds(s.device_s.mean)} ({seconds(s.reference_device_s.mean)})" for s in found],
    }
    table = Table.by_column(columns, 3, "Selection of synthetic images")
    return table if len(info.classifiers) > 1 else table.without("Classifier")
