"""The compared rows: one number or text per row, identified by its cell and quantity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Kind = Literal["cell", "leak", "fact", "mean", "loss", "score", "image", "cost"]
KINDS: tuple[Kind, ...] = get_args(Kind)
Value = float | str
WORDS = {
    "cell": "cells",
    "leak": "leaks",
    "fact": "facts",
    "mean": "means over all cells",
    "loss": "losses",
    "score": "scores",
    "image": "image metrics",
    "cost": "cost ratios",
}
# Names, or parts of them, of image metrics that are shares; scores are shares as well.
SHARES = ("precision", "recall", "coverage", "share", "authpct", "accuracy", "iou", "ssim")
PERCENT = "authpct"


@dataclass(frozen=True)
class Row:
    """One measured value.

    ``cell`` is the title of its cell ('fit cyclegan fold 0') or a similar name; ``quantum`` is the smallest possible
    change of ``value`` if it is a share of few images or patients, else 0.
    """

    kind: Kind
    cell: str
    quantity: str
    value: Value
    quantum: float = 0.0

    @property
    def key(self) -> tuple[str, str, str]:
        """The key of the row."""
        return (self.kind, self.cell, self.quantity)


def is_share(quantity: str) -> bool:
    """Return whether a score or image metric lies in [0, 1], or in [0, 100] if its name contains ``PERCENT``."""
    return quantity.startswith("test/") or any(word in quantity for word in SHARES)


def stage_of(cell: str) -> str:
    """Return the stage in a cell's title."""
    return cell.partition(" ")[0]
