"""What the harness promises of its statistics, and whether simulated studies keep it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from bench.errors import ConfigError
from bench.stats.inference import wilson

Floats = npt.NDArray[np.float64]
Kind = Literal["at most", "at least", "within", "points at most", "points within", "shown"]
ENOUGH = 1000  # studies; with fewer, a bound is widened by the sampling error
UPPER = 0.065  # the Wilson bound of a rate of false claims may not be above it
State = Literal["holds", "BROKEN", "cannot hold", "shown"]


@dataclass(frozen=True)
class Rule:
    """What is required of a rate (or, for ``points``, of a mean): a bound, or an interval. ``shown``: nothing."""

    kind: Kind
    low: float = math.nan
    high: float = math.nan

    @property
    def in_points(self) -> bool:
        """Whether the figure is a mean difference, not a share."""
        return self.kind.startswith("points")

    @property
    def text(self) -> str:
        """The requirement in words."""
        low, high = (f"{100 * v:g}" for v in (self.low, self.high))
        return {
            "at most": f"≤ {high} %",
            "at least": f"≥ {low} %",
            "within": f"{low} to {high} %",
            "points at most": f"within ± {high} points",
            "points within": f"{low} to {high} points",
            "shown": "",
        }[self.kind]


FALSE_CLAIMS = Rule("at most", high=0.05)
COVERAGE = Rule("within", 0.93, 0.97)
SHOWN = Rule("shown")


@dataclass(frozen=True)
class Found:
    """A share of ``n`` studies with its Wilson interval, or a mean with its normal 95 % interval."""

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Promise:
    """One measured figure with what was required of it.

    ``state``: a design that is known to miss its bound, and is not offered without saying so, *cannot hold* it.
    """

    part: str
    design: str
    case: str
    measure: str
    rule: Rule
    found: Found
    state: State


def check(rule: Rule, values: Floats) -> tuple[Found, bool]:
    """Return the figure of one value a study [n] (for shares 0 or 1; NaN is left out), and whether the rule holds.

    False claims: the share is at most the bound, and with ``ENOUGH`` studies its upper Wilson bound at most ``UPPER``.
    With fewer studies every bound is widened by the difference of the sampling errors, so that a short run does not
    fail by chance. Raises ``ConfigError`` when no value is defined.
    """
    known = values[~np.isnan(values)]
    if not len(known):
        raise ConfigError("no study gave a value; the test under test is undefined on this design")
    if rule.in_points:
        mean, half = float(known.mean()), 1.96 * float(known.std()) / math.sqrt(len(known))
        found, slack = Found(mean, mean - half, mean + half, len(known)), half
    else:
        share, n = float(known.mean()), len(known)
        found = Found(share, *wilson(round(share * n), n), n)
        slack = max(0.0, 0.98 / math.sqrt(n) - 0.98 / math.sqrt(ENOUGH))
    low, high, value = rule.low - slack, rule.high + slack, found.value
    holds = {
        "at most": value <= high and (found.n < ENOUGH or found.high <= UPPER),
        "at least": value >= low,
        "within": low <= value <= high,
        "points at most": abs(value) <= high,
        "points within": low <= value <= high,
        "shown": True,
    }[rule.kind]
    return found, holds


def broken(promises: Sequence[Promise]) -> list[Promise]:
    """Return the promises that are broken."""
    return [p for p in promises if p.state == "BROKEN"]
