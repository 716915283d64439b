"""What is compared: one number or word a row, found by the cell that it is of and its name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Kind = Literal["cell", "leak", "fact", "loss", "score", "image", "cost"]
KINDS: tuple[Kind, ...] = get_args(Kind)
Value = float | str
NUMERIC: tuple[Kind, ...] = ("loss", "score", "image", "cost")  # kinds with a tolerance; the others are exact
WORDS = {
    "cell": "cells",
    "leak": "leaks",
    "fact": "facts",
    "loss": "losses",
    "score": "scores",
    "image": "image metrics",
    "cost": "cost ratios",
}


@dataclass(frozen=True)
class Row:
    """One thing that was measured.

    ``cell`` is its cell's title ('fit cyclegan fold 0'), or what stands for one; ``quantum`` the least amount by which
    ``value`` can move where it is a share of few images or patients, else 0.
    """

    kind: Kind
    cell: str
    quantity: str
    value: Value
    quantum: float = 0.0

    @property
    def key(self) -> tuple[str, str, str]:
        """What it is found by."""
        return (self.kind, self.cell, self.quantity)


def in_order(key: tuple[str, str, str]) -> tuple[int, str, str]:
    """Sort keys by kind, then by cell and quantity."""
    kind, cell, quantity = key
    return (list(WORDS).index(kind), cell, quantity)
