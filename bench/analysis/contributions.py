"""What each test group contributes to an arm's score: the input of every test that compares two arms.

A predictions table is reduced to units (patients, or images where patients have images of several classes) and scored
on all test units together: those of one training set in a learning curve, those of all folds of a repeat in k-fold.
Hold-out draws test other groups each time, so there are only scores per pair.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bench.analysis.info import ReportInfo
from bench.analysis.rows import Pair
from bench.metrics.classification import check_arrays, patient_predictions
from bench.metrics.predictions import read_predictions
from bench.metrics.units import group_places
from bench.stats.endpoints import ENDPOINTS, score_units

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Units:
    """Scored units of some test parts: class int64 [U], probabilities float64 [U, C], group name and fold of each."""

    y_true: Ints
    y_prob: Floats
    group: tuple[str, ...]
    fold: Ints


@dataclass(frozen=True, eq=False)
class Contributions:
    """Contributions of G test groups to the endpoints of one arm with one classifier.

    ``rows`` names the R rows: sets of a learning curve, or repeats. ``groups`` [G] are sorted. ``values`` are
    float64 [R, G] by endpoint, the mean of a row is its score; ``fold`` int64 [R, G] is the fold that tests a group.
    ``units`` are the scored units of each row.
    """

    rows: tuple[int, ...]
    groups: tuple[str, ...]
    values: Mapping[str, Floats]
    fold: Ints
    units: tuple[Units, ...]

    def score(self, endpoint: str) -> float:
        """Return the score: the mean over rows."""
        return float(self.values[endpoint].mean())

    def at(self, rows: Sequence[int], endpoint: str) -> Floats:
        """Return the contributions of some rows, float64 [len(rows), G]."""
        return self.values[endpoint][[self.rows.index(r) for r in rows]]

    def folds_of(self, rows: Sequence[int]) -> Ints:
        """Return the fold that tests each group in some rows, int64 [len(rows), G]."""
        return self.fold[[self.rows.index(r) for r in rows]]


def contributions(tables: Mapping[Pair, str], root: Path, info: ReportInfo) -> Contributions | None:
    """Return the contributions of one arm from its predictions tables by pair, with paths relative to ``root``.

    In k-fold, only repeats with a table for every fold count. None if there is no such row, if the protocol tests other
    groups in every pair, or if the rows test different groups. Raises ``StoreError`` for a table that cannot be read.
    """
    parts = _rows(tables, info)
    if not parts:
        return None
    found = {
        row: units_of([(p[0], root / tables[p]) for p in pairs], info.unit.per_group) for row, pairs in parts.items()
    }
    groups = sorted(set(next(iter(found.values())).group))
    if any(sorted(set(u.group)) != groups for u in found.values()):
        return None
    scored = {e: [score_units(e, u.y_true, u.y_prob, group_places(u.group)) for u in found.values()] for e in ENDPOINTS}
    values = {e: np.stack([s.contributions for s in of]) for e, of in scored.items()}
    return Contributions(tuple(found), tuple(groups), values, _folds(found.values(), groups), tuple(found.values()))


def _rows(tables: Mapping[Pair, str], info: ReportInfo) -> dict[int, list[Pair]]:
    """Return the pairs of each row: one set, one training of a given split, or the folds of a complete repeat."""
    if info.is_crossed:
        return {pair[0 if info.is_curve else 1]: [pair] for pair in sorted(tables)}
    if not info.by_folds:
        return {}
    folds = {repeat: {f.fold for f in info.folds if f.repeat == repeat} for repeat in {f.repeat for f in info.folds}}
    whole = [r for r, planned in sorted(folds.items()) if planned and all((f, r) in tables for f in planned)]
    return {r: [(f, r) for f in sorted(folds[r])] for r in whole}


def units_of(paths: Sequence[tuple[int, Path]], per_group: bool) -> Units:
    """Return the units of some test parts, each given by its fold and the path of its predictions table.

    ``per_group``: patients are scored, else images. Raises ``StoreError`` for a table that cannot be read.
    """
    truth, prob, names, folds = [], [], list[str](), list[int]()
    for fold, path in paths:
        table = read_predictions(path, "test")
        y, p = check_arrays(table.y_true, table.y_prob, table.group)
        group = [str(g) for g in table.group]
        if per_group:
            y, p = patient_predictions(y, p, group)
            group = sorted(set(group))
        truth.append(y)
        prob.append(p)
        names += group
        folds += [fold] * len(y)
    return Units(np.concatenate(truth), np.concatenate(prob), tuple(names), np.array(folds, dtype=np.int64))


def _folds(units: Iterable[Units], groups: Sequence[str]) -> Ints:
    of_groups = [dict(zip(u.group, u.fold.tolist(), strict=True)) for u in units]
    return np.array([[of[g] for g in groups] for of in of_groups], dtype=np.int64)
