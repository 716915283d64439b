"""Whether a learning curve may stop: a look at its primary contrast after a planned number of training sets. Pure.

The rule is that of ``bench.stats.sequential``: the looks and their levels are fixed before the run, so stopping early
adds no false claims.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bench.analysis.contributions import units_of
from bench.errors import DataError
from bench.metrics.units import group_places
from bench.stats.crossed import crossed_test
from bench.stats.endpoints import oriented, score_units
from bench.stats.sequential import Decision, levels, look

POINTS = ("auroc", "balanced_accuracy")  # endpoints that are shown in points, 100 times the score
DECIDED: Decision = "stop: decided"


@dataclass(frozen=True)
class Look:
    """The result of one look after ``planned`` sets, of which ``sets`` have scores of both arms.

    ``difference`` (> 0: the arm is better) has the interval of the two-sided ``level`` of this look. NaN if undefined.
    ``withheld``: why the contrast has no verdict, such as an untrained generator; a look then stops nothing.
    """

    planned: int
    sets: int
    difference: float
    low: float
    high: float
    p: float
    level: float
    decision: Decision
    withheld: str = ""

    @property
    def stops(self) -> bool:
        """Whether no further set is run."""
        return self.decision != "continue"

    def words(self, endpoint: str) -> str:
        """Return the look in words: '6 sets: +3.1 points [-1.2, +7.4], p 0.2 (level 0.003): continue'."""
        scale, unit, digits = (100, " points", 1) if endpoint in POINTS else (1, "", 4)
        found, why = "no estimate", f", because {self.withheld}" if self.withheld else ""
        if math.isfinite(self.p):
            ends = (f"{scale * x:+.{digits}f}" for x in (self.low, self.high))
            found = f"{scale * self.difference:+.{digits}f}{unit} [{', '.join(ends)}], p {self.p:.2g}"
        return f"{self.sets} sets: {found} (level {self.level:.2g}): {self.decision}{why}"


def take_look(
    planned: Sequence[int],
    k: int,
    arm: Sequence[Path],
    reference: Sequence[Path],
    endpoint: str,
    per_group: bool,
    withheld: str = "",
) -> Look:
    """Return look ``k`` (from 1) of those after ``planned`` numbers of sets.

    ``arm`` and ``reference`` are the prediction tables of both arms for the same sets, in the same order.
    ``per_group``: patients are scored, else images. ``withheld``: why the report gives the contrast no verdict; the run
    then goes on, because a stop as decided would leave the other arms without power. Raises ``DataError`` if the tables
    do not test the same groups, ``StoreError`` for a table that cannot be read.
    """
    fractions = [n / planned[-1] for n in planned]
    level = levels(tuple(fractions))[k - 1]
    differences = paired_contributions(arm, reference, endpoint, per_group)
    undecided: Decision = "stop: undecided" if k == len(planned) else "continue"
    n = planned[k - 1], len(differences)
    if not differences.size or not np.isfinite(differences).all():
        return Look(*n, math.nan, math.nan, math.nan, math.nan, level, undecided, withheld)
    found = crossed_test(differences, alpha=level)
    decision = undecided if withheld else look(k, fractions, found)
    return Look(*n, found.difference, found.low, found.high, found.p, level, decision, withheld)


def paired_contributions(
    arm: Sequence[Path], reference: Sequence[Path], endpoint: str, per_group: bool
) -> npt.NDArray[np.float64]:
    """Return the differences of contributions, float64 [R, G], > 0 is better for the arm; arguments as ``take_look``.

    Raises ``DataError`` if the tables do not test the same groups.
    """
    found = [[_contributions(path, endpoint, per_group) for path in paths] for paths in (arm, reference)]
    if len({groups for of_arm in found for groups, _ in of_arm}) > 1:
        raise DataError("the training sets of a learning curve were not tested on the same groups; run them again")
    rows = [oriented(endpoint, a, b) for (_, a), (_, b) in zip(*found, strict=True)]
    return np.stack(rows) if rows else np.zeros((0, 0))


def _contributions(path: Path, endpoint: str, per_group: bool) -> tuple[tuple[str, ...], npt.NDArray[np.float64]]:
    """Return the tested groups, sorted, and their contributions to the endpoint."""
    u = units_of([(0, path)], per_group)
    return tuple(sorted(set(u.group))), score_units(endpoint, u.y_true, u.y_prob, group_places(u.group)).contributions
