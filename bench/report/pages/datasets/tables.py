"""The tables over all members: what they say together, and every arm on every data set."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from bench.analysis.datasets.effects import MEASURES, Effect, Measure, SubSuite
from bench.analysis.datasets.overall import Pooled
from bench.report.pages.datasets.words import difference, ends, marked
from bench.report.text import number, p_value, percent, table
from bench.stats.meta_analysis import FEWEST

Row = list[str]
HEAD = (
    *("Arm", "Classifier", "Data set", "Accuracy", "− `none`", "Verdict", "− twin", "Verdict", "KID − twin", "Verdict"),
    "Pairs",
)
TITLES: dict[Measure, str] = {
    "gain": "The gain over `none`, in points of accuracy",
    "from_scratch": "Transfer learning: accuracy minus that of the twin with random weights, in points",
    "kid": "Transfer learning: KID minus that of the twin with random weights (below 0: more like real images)",
}


def overall_parts(pooled: Sequence[Pooled]) -> tuple[str, ...]:
    """Return a line and a table a measure, of the arms that enough data sets have; nothing where there are none."""
    parts: list[str] = []
    for measure in MEASURES:
        mine = [p for p in pooled if p.at.measure == measure and p.found.studies >= FEWEST]
        if mine:
            of = ("Classifier",) * (measure != "kid") + ("Minus",) * (measure != "gain")
            head = ("Arm", *of, "Data sets", "Mean", "Verdict", "Carries over", "Next", "τ", "I²", "p Holm", "p alike")
            rows = [_overall(p, of) for p in mine]
            parts += [f"{TITLES[measure]}:\n", table(head, rows, left=1 + len(of))]
    return tuple(parts)


def _overall(p: Pooled, of: Sequence[str]) -> Row:
    t, measure = p.found, p.at.measure
    said = {"Classifier": p.at.classifier, "Minus": f"`{p.at.reference}`"}
    found = [str(t.studies), difference(measure, t.mean, t.low, t.high), marked(p.word), marked(p.carries)]
    spread = [number(t.tau) if measure == "kid" else f"{100 * t.tau:.1f}", f"{100 * t.i2:.0f} %"]
    next_one = ends(measure, t.next_low, t.next_high)
    return [f"`{p.at.arm}`", *(said[c] for c in of), *found, next_one, *spread, p_value(p.p_holm), p_value(t.p_alike)]


def board_rows(sub_suites: Sequence[SubSuite], pooled: Sequence[Pooled]) -> list[Row]:
    """Return what each data set says of each arm, and after them what they say together: rows of ``HEAD``."""
    by_at = {(p.at.measure, p.at.classifier, p.at.arm): p for p in pooled}
    rows: list[Row] = []
    classifier = ""
    for gain in (p for p in pooled if p.at.measure == "gain"):
        if gain.at.classifier != classifier:
            classifier = gain.at.classifier
            rows += [
                ["`none`", classifier, m.name, percent(m.scores.get((classifier, "none"), math.nan)), *[""] * 7]
                for m in sub_suites
            ]  # fmt: skip
        from_scratch = by_at.get(("from_scratch", classifier, gain.at.arm))
        kid = by_at.get(("kid", "", gain.at.arm.split()[0]))
        rows += [[f"`{gain.at.arm}`", classifier, *row] for row in _block(sub_suites, gain, from_scratch, kid)]
    return rows


def _block(sub_suites: Sequence[SubSuite], gain: Pooled, *others: Pooled | None) -> Iterator[Row]:
    """Yield the rows of an arm: of each member that has anything, and of all together."""
    three = (gain, *others)
    for m in sub_suites:
        effects = [dict(p.effects).get(m.name) if p else None for p in three]
        if any(effects):
            score = percent(m.scores.get((gain.at.classifier, gain.at.arm), math.nan))
            pairs = max(e.pairs for e in effects if e)
            yield [m.name, score, *(c for e in effects for c in _cells(e)), str(pairs)]
    overall = [c for p in three for c in _mean(p)]
    if any(overall):
        yield [f"**{gain.found.studies} together**", "", *overall, ""]


def _cells(e: Effect | None) -> tuple[str, str]:
    return (difference(e.at.measure, e.difference, e.low, e.high), marked(e.word)) if e else ("", "")


def _mean(p: Pooled | None) -> tuple[str, str]:
    if p is None or p.found.studies < FEWEST:
        return "", ""
    return difference(p.at.measure, p.found.mean, p.found.low, p.found.high), marked(p.word)


def board(rows: Sequence[Row], once: bool) -> str:
    """Return those rows as a table without columns that are empty.

    ``once``: an arm and its classifier stand in the first row of theirs alone.
    """
    kept = [i for i in range(len(HEAD)) if any(row[i] for row in rows)]
    above = [["", ""], *(row[:2] for row in rows)]
    shown = [["", "", *row[2:]] if once and row[:2] == a else row for a, row in zip(above, rows, strict=False)]
    return table([HEAD[i] for i in kept], ([row[i] for i in kept] for row in shown), left=3)


def board_filters(rows: Sequence[Row]) -> Mapping[str, Sequence[str]]:
    """Return what a reader can narrow the table down to: values by column, of those with a choice."""
    values = {head: list(dict.fromkeys(row[i].strip("`*") for row in rows)) for i, head in enumerate(HEAD[:3])}
    return {head: found for head, found in values.items() if len(found) > 1}
