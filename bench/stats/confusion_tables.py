"""Consistency of published numbers: compares them with all confusion tables that the number of test images allows.

With few test images, precision, recall and accuracy can take few values and depend on each other; most combinations of
printed digits belong to no table.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

MEASURES = ("accuracy", "precision", "recall", "f1")


@dataclass(frozen=True)
class ConfusionTable:
    """Counts of one binary test.

    Positive images found (tp) and missed (fn), negative images predicted as positive (fp) and as negative (tn).
    """

    tp: int
    fn: int
    fp: int
    tn: int

    def counts(self, measure: str) -> tuple[int, int]:
        """Return (numerator, denominator) of a measure. For f1: 2 tp and 2 tp + fp + fn."""
        return {
            "accuracy": (self.tp + self.tn, self.tp + self.fn + self.fp + self.tn),
            "precision": (self.tp, self.tp + self.fp),
            "recall": (self.tp, self.tp + self.fn),
            "f1": (2 * self.tp, 2 * self.tp + self.fp + self.fn),
        }[measure]

    def value(self, measure: str) -> float:
        """Return a measure in [0, 1]; NaN for 0/0."""
        n, total = self.counts(measure)
        return n / total if total else math.nan

    def __add__(self, other: ConfusionTable) -> ConfusionTable:
        return ConfusionTable(self.tp + other.tp, self.fn + other.fn, self.fp + other.fp, self.tn + other.tn)


@dataclass(frozen=True)
class Inconsistency:
    """A printed number that no table gives together with the others.

    ``tables`` are those that match all the others; ``nearest`` is the one among them whose value of ``measure`` is
    nearest to the printed one. ``alone``: no table gives the number, for any values of the others.
    """

    measure: str
    printed: str
    others: Mapping[str, str]
    nearest: ConfusionTable
    alone: bool


def prints_as(value: float, printed: str) -> bool:
    """Return whether a value, rounded to the decimals of a printed number, equals it (ties may round either way)."""
    decimals = len(printed.partition(".")[2])
    return abs(value - float(printed)) <= 0.5 * 10**-decimals + 1e-12


def possible_tables(printed: Mapping[str, str], negatives: int, positives: int) -> list[ConfusionTable]:
    """Return every table of that number of test images that matches all of these measures."""
    return [t for t in _tables(negatives, positives) if all(prints_as(t.value(m), text) for m, text in printed.items())]


def inconsistencies(printed: Mapping[str, str], negatives: int, positives: int) -> list[Inconsistency]:
    """Return the smallest set of numbers without which the others are consistent; [] if a table matches all of them.

    If several sets are equally small, all of them are returned; each is then a possible correction. [] also if no two
    of the numbers are consistent, because then no conclusion is possible.
    """
    if possible_tables(printed, negatives, positives):
        return []
    for size in range(1, len(printed)):
        found = []
        for left_out in combinations(printed, size):
            others = {m: text for m, text in printed.items() if m not in left_out}
            tables = possible_tables(others, negatives, positives)
            found += [_inconsistency(m, printed[m], others, tables, negatives, positives) for m in left_out if tables]
        if found:
            return found
    return []


def _inconsistency(
    measure: str,
    printed: str,
    others: Mapping[str, str],
    tables: Sequence[ConfusionTable],
    negatives: int,
    positives: int,
) -> Inconsistency:
    nearest = min(tables, key=lambda t: _distance(t.value(measure), float(printed)))
    return Inconsistency(
        measure, printed, others, nearest, not possible_tables({measure: printed}, negatives, positives)
    )


def _distance(value: float, printed: float) -> float:
    return abs(value - printed) if math.isfinite(value) else math.inf


def _tables(negatives: int, positives: int) -> Iterator[ConfusionTable]:
    for tp in range(positives + 1):
        for fp in range(negatives + 1):
            yield ConfusionTable(tp, positives - tp, fp, negatives - fp)
