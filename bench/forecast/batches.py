"""The largest batch that fits into memory, by linear extrapolation of measurements, confirmed by a measurement."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

PRECISE = 0.1  # the result is at most this share below the largest batch that fits
MOST = 2**16
TRIES = 12


@dataclass
class Fit:
    """``largest`` fits (measured); ``refused`` is the smallest tested batch that does not fit, None for none.

    ``peaks`` are the bytes of every batch that fitted.
    """

    largest: int = 0
    refused: int | None = None
    peaks: dict[int, float] = field(default_factory=dict)
    stopped: bool = False  # a measurement ended without result: it took too long


def largest_batch(
    peak_of: Callable[[int], float | None], budget_bytes: float, known: Mapping[int, float], least: int = 1
) -> Fit:
    """Return the largest batch whose peak stays within the budget.

    ``peak_of(batch)`` measures: bytes, or None when it does not fit; a ``TimeoutError`` ends the search. ``known`` are
    earlier measurements. The next batch to measure is where the line through the two largest reaches the budget, or
    half-way between a batch that fits and one that does not.
    """
    fit = Fit(peaks={b: p for b, p in known.items() if p <= budget_bytes})
    fit.largest = max(fit.peaks, default=0)
    fit.refused = min((b for b, p in known.items() if p > budget_bytes), default=None)
    for _ in range(TRIES):
        batch = _next(fit, budget_bytes, least)
        if batch is None:
            return fit
        try:
            peak = peak_of(batch)
        except TimeoutError:
            fit.stopped = True
            return fit
        if peak is None or peak > budget_bytes:
            fit.refused = batch
        else:
            fit.largest, fit.peaks[batch] = max(fit.largest, batch), peak
    return fit


def _next(fit: Fit, budget_bytes: float, least: int) -> int | None:
    """Return the next batch to measure, None when the result is precise enough."""
    if fit.refused is not None and fit.refused - fit.largest <= max(1, int(PRECISE * fit.largest)):
        return None
    if fit.refused is not None and fit.refused <= least:
        return None
    if not fit.largest:
        return least
    if fit.largest >= MOST:
        return None
    line = extrapolate(fit.peaks, budget_bytes)
    if fit.refused is None:
        return min(MOST, max(fit.largest + max(1, int(PRECISE * fit.largest)), line or 2 * fit.largest))
    if line is not None and fit.largest < line < fit.refused:
        return line
    return (fit.largest + fit.refused) // 2


def extrapolate(peaks: Mapping[int, float], budget_bytes: float) -> int | None:
    """Return the batch at which the line through the two largest measured ones reaches the budget, None without two."""
    if len(peaks) < 2:
        return None
    a, b = sorted(peaks)[-2:]
    slope = (peaks[b] - peaks[a]) / (b - a)
    return int(b + (budget_bytes - peaks[b]) / slope) if slope > 0 else None
