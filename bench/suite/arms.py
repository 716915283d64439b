"""How rows and folders spell an arm's ratio: how many synthetic images it adds, and what else sets its training apart.

'0', '0.5', 'balance'; '1-nocopies', the same without the images flagged as copies; '0-steps4', real images alone with
four times the optimiser steps, which is what a generator's compute buys when it goes into the classifier.
"""

from __future__ import annotations

NO_MEMORISED, STEPS = "-nocopies", "-steps"


def ratio_text(ratio: float | str) -> str:
    """Return a ratio as rows and folders spell it: '0', '0.5', '1', 'balance'."""
    return ratio if isinstance(ratio, str) else f"{ratio:g}"


def longer(times: int) -> str:
    """Return the ratio of an arm without synthetic images that trains so many times as long."""
    return f"0{STEPS}{times}"


def amount(ratio: str | None) -> str:
    """Return how many synthetic images a ratio adds: '0', '0.5', 'balance'."""
    return str(ratio or "0").removesuffix(NO_MEMORISED).partition(STEPS)[0]


def times(ratio: str | None) -> int:
    """Return how many times as long as its suite says an arm of this ratio trains its classifier."""
    return int(str(ratio or "0").partition(STEPS)[2] or 1)


def ratio_label(ratio: str | None) -> str:
    """'0.5' -> '×0.5', '1-nocopies' -> '×1 without copies', '0-steps4' -> '4× the steps', 'balance', '0' -> ''."""
    added = amount(ratio)
    if added == "0":
        return f"{times(ratio)}× the steps" if times(ratio) > 1 else ""
    apart = " without copies" if str(ratio).endswith(NO_MEMORISED) else ""
    return (added if added == "balance" else f"×{added}") + apart
