"""Effects as text, for the answers and the tables."""

from __future__ import annotations

import math

from bench.analysis.datasets.effects import Measure
from bench.analysis.datasets.overall import Pooled
from bench.report.text import interval, points, signed


def called(p: Pooled) -> str:
    """Return the name of an arm with its classifier: '`cgan ×1` with resnet18'."""
    with_ = f" with {p.at.classifier}" if p.at.classifier else ""
    return f"`{p.at.arm}`{with_}"


def unit_of(p: Pooled) -> str:
    """Return ' points', or '' for KID."""
    return "" if p.at.measure == "kid" else " points"


def size_of(p: Pooled, unit: str = "") -> str:
    """Return the overall difference with its interval and the prediction interval."""
    t = p.found
    return (
        f"{difference(p.at.measure, t.mean, t.low, t.high)}{unit}, prediction interval "
        f"{ends(p.at.measure, t.next_low, t.next_high)}"
    )


def marked(word: str) -> str:
    """Return a verdict, bold if it is a claim."""
    return word if word == "undecided" else f"**{word}**"


def difference(measure: Measure, mean: float, low: float, high: float) -> str:
    """Return a difference with its interval, in points, or in the unit of KID."""
    shown = points(mean) if measure != "kid" else signed(mean)
    return f"{shown} {ends(measure, low, high)}".strip()


def ends(measure: Measure, low: float, high: float) -> str:
    """Return an interval in brackets; '' if an end is not finite."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return ""
    if measure == "kid":
        return f"[{signed(low)}, {signed(high)}]"
    return interval(max(low, -1), min(high, 1), signed=True)
