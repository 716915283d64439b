"""The tables over all sub-suites: overall results, and every arm on every data set."""

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
    *("Arm", "Classifier", "Data set", "Accuracy", "− `none`", "Verdict"),
    *("− from-scratch", "Verdict", "KID − from-scratch", "Verdict", "Pairs"),
)
TITLES: dict[Measure, str] = {
    "gain": "The gain over `none`, in points of accuracy",
    "from_scratch": "Transfer learning: accuracy minus that of the from-scratch counterpart, in points",
    "kid": "Transfer learning: KID minus that of the from-scratch counterpart (below 0: closer to real images)",
}


def overall_parts(pooled: Sequence[Pooled]) -> tuple[str, ...]:
    """Return a caption and a table for each measure, of arms with enough data sets; () without any."""
    parts: list[str] = []
    for measure in MEASURES:
        mine = [p for p in pooled if p.at.measure == measure and p.found.studies >= FEWEST]
        if mine:
            of = ("Classifier",) * (measure != "kid") + ("Minus",) * (measure != "gain")
            head = (
                "Arm",
                *of,
                "Data sets",
                "Mean",
                "Verdict",
                "Generalises",
                "Prediction interval",
                "τ",
                "I²",
                "p Holm",
                "p homogeneity",
            )
            rows = [_overall(p, of) for p in mine]
            parts += [f"{TITLES[measure]}:\n", table(head, rows, left=1 + len(of))]
    return tuple(parts)


def _overall(p: Pooled, of: Sequence[str]) -> Row:
    t, measure = p.found, p.at.measure
    said = {"Classifier": p.at.classifier, "Minus": f"`{p.at.reference}`"}
    found = [str(t.studies), difference(measure, t.mean, t.low, t.high), marked(p.word), marked(p.carries)]
    spread = [number(t.tau) if measure == "kid" else f"{100 * t.tau:.1f}", f"{100 * t.i2:.0f} %"]
    next_one = ends(measure, t.next_low, t.next_high)
    return [f"`{p.at.arm}`", *(said[c] for c in of), *found, next_one, *spread, p_value(p.p_adjusted), p_value(t.p_alike)]


def board_rows(sub_suites: Sequence[SubSuite], pooled: Sequence[Pooled]) -> list[Row]:
    """Return the rows of ``HEAD``: for each arm one row for each data set, then the overall row."""
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
    """Yield the rows of an arm: one for each sub-suite with a result, then the overall row."""
    three = (gain, *others)
    for m in sub_suites:
        effects = [dict(p.effects).get(m.name) if p else None for p in three]
        if any(effects):
            score = percent(m.scores.get((gain.at.classifier, gain.at.arm), math.nan))
            pairs = max(e.pairs for e in effects if e)
            yield [m.name, score, *(c for e in effects for c in _cells(e)), str(pairs)]
    overall = [c for p in three for c in _mean(p)]
    if any(overall):
        yield [f"**overall ({gain.found.studies} data sets)**", "", *overall, ""]


def _cells(e: Effect | None) -> tuple[str, str]:
    return (difference(e.at.measure, e.difference, e.low, e.high), marked(e.word)) if e else ("", "")


def _mean(p: Pooled | None) -> tuple[str, str]:
    if p is None or p.found.studies < FEWEST:
        return "", ""
    return difference(p.at.measure, p.found.mean, p.found.low, p.found.high), marked(p.word)


def board(rows: Sequence[Row], once: bool) -> str:
    """Return these rows as a table without empty columns.

    ``once``: arm and classifier are shown only in their first row.
    """
    kept = [i for i in range(len(HEAD)) if any(row[i] for row in rows)]
    above = [["", ""], *(row[:2] for row in rows)]
    shown = [["", "", *row[2:]] if once and row[:2] == a else row for a, row in zip(above, rows, strict=False)]
    return table([HEAD[i] for i in kept], ([row[i] for i in kept] for row in shown), left=3)


def board_filters(rows: Sequence[Row]) -> Mapping[str, Sequence[str]]:
    """Return the filter values by column, for columns with more than one value."""
    values = {head: list(dict.fromkeys(row[i].strip("`*") for row in rows)) for i, head in enumerate(HEAD[:3])}
    return {head: found for head, found in values.items() if len(found) > 1}
