"""Can published numbers be? All the confusion tables that so few test images allow, held against what was printed.

A share of ten images is a tenth, so a precision, a recall and an accuracy of one small test set hang together: most
combinations of printed digits belong to no table at all.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

MEASURES = ("accuracy", "precision", "recall", "f1")


@dataclass(frozen=True)
class ConfusionTable:
    """Counts of one binary test: the positive class's images found (tp) and missed (fn), the other's taken for it (fp)
    and left (tn)."""

    tp: int
    fn: int
    fp: int
    tn: int

    def counts(self, measure: str) -> tuple[int, int]:
        """Return (n, of how many) of a measure; their ratio is its value. For f1: 2 tp and 2 tp + fp + fn."""
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
    """A printed number that no table gives together with the rest.

    ``tables`` are those that print all the others; ``nearest`` is of these the one whose own value of ``measure`` is
    next to the printed one. ``alone``: no table gives the number at all, whatever the others are.
    """

    measure: str
    printed: str
    others: Mapping[str, str]
    nearest: ConfusionTable
    alone: bool


def prints_as(value: float, printed: str) -> bool:
    """Return whether a value, rounded to the decimals of a printed number, is that number (ties may go either way)."""
    decimals = len(printed.partition(".")[2])
    return abs(value - float(printed)) <= 0.5 * 10**-decimals + 1e-12


def possible_tables(printed: Mapping[str, str], negatives: int, positives: int) -> list[ConfusionTable]:
    """Return every table of so many test images that prints all of these measures."""
    return [t for t in _tables(negatives, positives) if all(prints_as(t.value(m), text) for m, text in printed.items())]


def inconsistencies(printed: Mapping[str, str], negatives: int, positives: int) -> list[Inconsistency]:
    """Return the fewest numbers without which the others go together; [] where a table prints all of them.

    Where several choices are as few, all of them are returned: each is then a way to mend the rest. [] as well where
    no two of the numbers go together, for then nothing can be said.
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
