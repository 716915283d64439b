"""An arm of a comparison: one way of making a classifier's training set, and its text form in rows and folders.

'0', '0.5', 'balance': synthetic images per real one; '1-without-memorised': without memorised samples; '0-steps4': only
real images with four times the optimiser steps (compute-matched: a generator's compute is used for the classifier);
'1-realism-keep0.5': twice as many images drawn, the better half by the rule `realism` kept.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

Rule = Literal["none", "classifier_agreement", "realism", "diversity"]  # how synthetic images are selected
_WITHOUT_MEMORISED, _STEPS, _KEEP = "-without-memorised", "-steps", "-keep"


@dataclass(frozen=True)
class Arm:
    """A method and, for a generative one, how many synthetic images it adds per real one (``ratio``).

    ``exclude_memorised``: synthetic images flagged as memorised are not added. ``train_multiplier``: optimiser steps of
    the classifier relative to the suite's. ``selection``: the rule that chose the share ``keep`` of the drawn images.
    """

    method: str
    ratio: str = "0"
    exclude_memorised: bool = False
    train_multiplier: int = 1
    selection: str = "none"  # a ``Rule``
    keep: float = 1.0

    @classmethod
    def parse(cls, method: str | None, variant: str | None) -> Arm:
        """Return the arm of a method and the ``variant`` text of a row; None and '' mean only real images."""
        text, _, times = str(variant or "0").partition(_STEPS)
        images, selected, keep = text.removesuffix(_WITHOUT_MEMORISED).partition(_KEEP)
        ratio, _, rule = images.rpartition("-") if selected else (images, "", "none")
        memorised = text.endswith(_WITHOUT_MEMORISED)
        return cls(method or "", ratio, memorised, int(times or 1), rule, float(keep or 1))

    @property
    def variant(self) -> str:
        """The text of all but the method, as stored in rows (``ResultRow.ratio``) and cells."""
        steps = f"{_STEPS}{self.train_multiplier}" if self.train_multiplier > 1 else ""
        selected = f"-{self.selection}{_KEEP}{self.keep:g}" if self.is_selected else ""
        return self.ratio + selected + (_WITHOUT_MEMORISED if self.exclude_memorised else "") + steps

    @property
    def variant_label(self) -> str:
        """The variant in tables: '×0.5', '×1 without memorised samples', '4× the steps', 'balance', ''."""
        if self.ratio == "0":
            return f"{self.train_multiplier}× the steps" if self.train_multiplier > 1 else ""
        amount = self.ratio if self.ratio == "balance" else f"×{self.ratio}"
        if self.is_selected:
            amount += f" selected by {self.selection.replace('_', ' ')} ({self.keep:g})"
        return amount + (" without memorised samples" if self.exclude_memorised else "")

    @property
    def label(self) -> str:
        """Label in tables and figures: 'classical', 'cyclegan ×0.5', 'cyclegan balance'."""
        return f"{self.method} {self.variant_label}".strip()

    @property
    def base(self) -> Arm:
        """The same arm with memorised samples and without selection."""
        return replace(self, exclude_memorised=False, selection="none", keep=1.0)

    @property
    def is_selected(self) -> bool:
        """Whether its synthetic images were selected from more drawn ones."""
        return self.selection != "none"

    @property
    def subset(self) -> str:
        """Which of the drawn synthetic images it uses: '' for all. Each subset is a family of comparisons."""
        if self.is_selected:
            return "with selected images"
        return "without memorised samples" if self.exclude_memorised else ""

    @property
    def synthesis_stage(self) -> str:
        """The stage that makes the synthetic images of this arm."""
        return "select" if self.is_selected else "synthesize"


def ratio_text(ratio: float | str) -> str:
    """Return the text of a suite's ratio: '0', '0.5', '1', 'balance'."""
    return ratio if isinstance(ratio, str) else f"{ratio:g}"
