"""The promises of the harness, and whether they hold in the trials."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bench.selftest.outcomes import CLAIMS, Outcome
from bench.selftest.trial_runs import TrialResult
from bench.selftest.trials import ARMS, WIDE_MARGIN
from bench.stats.inference import wilson

ALPHA = 0.05
AT_LEAST = 0.01  # minimum claims in A/A comparisons: a test that never decides is useless
POWER_OFF = 0.05  # allowed difference between found and promised power
ENOUGH = 1000  # comparisons; with fewer, the allowed difference is increased by the sampling error


@dataclass(frozen=True)
class Rate:
    """A rate: share of n, with its Wilson interval."""

    share: float
    low: float
    high: float
    n: int

    @classmethod
    def of(cls, events: npt.NDArray[np.bool_]) -> Rate:
        """Return the rate of True values."""
        n, hits = len(events), int(events.sum())
        return cls(hits / n if n else math.nan, *wilson(hits, n), n)


@dataclass(frozen=True)
class Promise:
    """One promise: ``wanted`` is the required rate, in words."""

    text: str
    trial: str
    wanted: str
    found: Rate
    holds: bool


def claims(outcome: Outcome) -> npt.NDArray[np.bool_]:
    """Return where the verdict claims an effect, in either direction."""
    return np.isin(outcome.word, CLAIMS)


def equivalent(outcome: Outcome) -> Rate:
    """Return how often the effect is shown to be smaller than ``WIDE_MARGIN``."""
    return Rate.of(np.nan_to_num(outcome.equal, nan=1.0) < ALPHA)


def covered(low: npt.NDArray[np.float64], high: npt.NDArray[np.float64], effect: float) -> Rate:
    """Return how often an interval contains the true effect, among comparisons that have an interval."""
    made = ~np.isnan(low)
    return Rate.of((low[made] <= effect) & (effect <= high[made]))


def promises(results: Sequence[TrialResult]) -> list[Promise]:
    """Return all promises with the rates found in the trials.

    False claims and power are compared directly (with fewer than ``ENOUGH`` comparisons, plus the sampling error).
    Other promises are broken only if the whole Wilson interval is beyond the bound.
    """
    return [p for r in results for p in _of_trial(r)]


def _of_trial(result: TrialResult) -> Iterator[Promise]:
    name, null = result.trial.name, result.outcomes[0.0]
    found = Rate.of(claims(null))
    fair = found.share <= ALPHA + _chance(found.n) and found.high >= AT_LEAST
    yield Promise("no effect: claims", name, "1 to 5 %", found, fair)
    rates = [
        (f"no effect: any of {ARMS} arms", Rate.of(result.family)),
        ("false equivalent", equivalent(result.outcomes[WIDE_MARGIN])),
    ]
    if len(result.same_arm_twice):
        rates.insert(1, ("no effect: one arm twice", Rate.of(np.isin(result.same_arm_twice, CLAIMS))))
    for text, rate in rates:
        yield Promise(text, name, "≤ 5 %", rate, rate.low <= ALPHA)
    for effect, outcome in result.outcomes.items():
        rate = covered(outcome.low, outcome.high, effect)
        yield Promise(f"interval holds {100 * effect:g} points", name, "≥ 95 %", rate, rate.high >= 1 - ALPHA)
    for effect, promised in result.promised.items():
        rate = Rate.of(result.outcomes[effect].word == "helps")
        off = abs(rate.share - promised)
        wanted = f"{100 * promised:.1f} % ± 5, as planned"
        text = f"finds {100 * effect:g} points"
        yield Promise(text, name, wanted, rate, off <= POWER_OFF + _chance(rate.n))


def _chance(n: int) -> float:
    """Return how much wider the Wilson interval of n comparisons is than that of ``ENOUGH`` (half-widths, at most)."""
    return max(0.0, 0.98 / math.sqrt(n) - 0.98 / math.sqrt(ENOUGH))
