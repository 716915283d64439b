"""The tables over all sub-suites: overall results, and every arm on every data set."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from bench.analysis.datasets.effects import MEASURES, Effect, Measure, SubSuite
from bench.analysis.datasets.overall import Pooled
from bench.report.content import Block, Table
from bench.report.pages.datasets.words import difference, ends, marked
from bench.report.text import number, p_value, percent
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


def overall_blocks(pooled: Sequence[Pooled]) -> tuple[Block, ...]:
    """Return a caption and a table for each measure, of arms with enough data sets; () without any."""
    parts: list[Block] = []
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
            parts += [f"{TITLES[measure]}:", Table.of(head, rows, 1 + len(of), f"Overall: {measure}")]
    return tuple(parts)


def _overall(p: Pooled, of: Sequence[str]) -> Row:
    t, measure = p.found, p.at.measure
    said = {"Classifier": p.at.classifier, "Minus": f"`{p.at.reference}`"}
    found = [str(t.studies), difference(measure, t.mean, t.low, t.high), marked(p.word), marked(p.carries)]
    spread = [number(t.tau) if measure == "kid" else f"{100 * t.tau:.1f}", f"{100 * t.i2:.0f} %"]
    next_one = ends(measure, t.next_low, t.next_high)
    return [
        f"`{p.at.arm}`",
        *(said[c] for c in of),
        *found,
        next_one,
        *spread,
        p_value(p.p_adjusted),
        p_value(t.p_alike),
    ]


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


def board(rows: Sequence[Row]) -> Table:
    """Return these rows as a table without empty columns, which can be filtered by arm, classifier and data set."""
    kept = [i for i in range(len(HEAD)) if any(row[i] for row in rows)]
    table = Table.of([HEAD[i] for i in kept], ([row[i] for i in kept] for row in rows), 3, "Every arm")
    return replace(table, filters=tuple(h for h in HEAD[:3] if h in table.heads))
