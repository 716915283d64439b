"""The ratio string of an arm in rows and folders: number of synthetic images and variant of the training.

'0', '0.5', 'balance'; '1-nocopies': without memorised samples; '0-steps4': only real images with four times the
optimiser steps (compute-matched: a generator's compute is used for the classifier instead).
"""

from __future__ import annotations

NO_MEMORISED, STEPS = "-nocopies", "-steps"


def ratio_text(ratio: float | str) -> str:
    """Return the ratio string: '0', '0.5', '1', 'balance'."""
    return ratio if isinstance(ratio, str) else f"{ratio:g}"


def longer(times: int) -> str:
    """Return the ratio string of an arm without synthetic images that trains for ``times`` times the steps."""
    return f"0{STEPS}{times}"


def amount(ratio: str | None) -> str:
    """Return the number of synthetic images of a ratio string: '0', '0.5', 'balance'."""
    return str(ratio or "0").removesuffix(NO_MEMORISED).partition(STEPS)[0]


def times(ratio: str | None) -> int:
    """Return the train multiplier of a ratio string: classifier steps relative to the suite's."""
    return int(str(ratio or "0").partition(STEPS)[2] or 1)


def ratio_label(ratio: str | None) -> str:
    """'0.5' -> '×0.5', '1-nocopies' -> '×1 without copies', '0-steps4' -> '4× the steps', 'balance', '0' -> ''."""
    added = amount(ratio)
    if added == "0":
        return f"{times(ratio)}× the steps" if times(ratio) > 1 else ""
    apart = " without copies" if str(ratio).endswith(NO_MEMORISED) else ""
    return (added if added == "balance" else f"×{added}") + apart
