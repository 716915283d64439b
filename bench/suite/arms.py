"""An arm of a comparison: one way of making a classifier's training set, and its text form in rows and folders.

'0', '0.5', 'balance': synthetic images per real one; '1-without-memorised': without memorised samples; '0-steps4': only
real images with four times the optimiser steps (compute-matched: a generator's compute is used for the classifier).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

_WITHOUT_MEMORISED, _STEPS = "-without-memorised", "-steps"


@dataclass(frozen=True)
class Arm:
    """A method and, for a generative one, how many synthetic images it adds per real one (``ratio``).

    ``exclude_memorised``: synthetic images flagged as memorised are not added. ``train_multiplier``: optimiser steps of
    the classifier relative to the suite's.
    """

    method: str
    ratio: str = "0"
    exclude_memorised: bool = False
    train_multiplier: int = 1

    @classmethod
    def parse(cls, method: str | None, variant: str | None) -> Arm:
        """Return the arm of a method and the ``variant`` text of a row; None and '' mean only real images."""
        text, _, times = str(variant or "0").partition(_STEPS)
        return cls(
            method or "", text.removesuffix(_WITHOUT_MEMORISED), text.endswith(_WITHOUT_MEMORISED), int(times or 1)
        )

    @property
    def variant(self) -> str:
        """The text of all but the method, as stored in rows (``ResultRow.ratio``) and cells."""
        steps = f"{_STEPS}{self.train_multiplier}" if self.train_multiplier > 1 else ""
        return self.ratio + (_WITHOUT_MEMORISED if self.exclude_memorised else "") + steps

    @property
    def variant_label(self) -> str:
        """The variant in tables: '×0.5', '×1 without memorised samples', '4× the steps', 'balance', ''."""
        if self.ratio == "0":
            return f"{self.train_multiplier}× the steps" if self.train_multiplier > 1 else ""
        amount = self.ratio if self.ratio == "balance" else f"×{self.ratio}"
        return amount + (" without memorised samples" if self.exclude_memorised else "")

    @property
    def label(self) -> str:
        """Label in tables and figures: 'classical', 'cyclegan ×0.5', 'cyclegan balance'."""
        return f"{self.method} {self.variant_label}".strip()

    @property
    def base(self) -> Arm:
        """The same arm with memorised samples."""
        return replace(self, exclude_memorised=False)


def ratio_text(ratio: float | str) -> str:
    """Return the text of a suite's ratio: '0', '0.5', '1', 'balance'."""
    return ratio if isinstance(ratio, str) else f"{ratio:g}"
