"""Expected cost of wrong decisions: a missed case may be far worse than a false alarm.

Elkan 2001, "The foundations of cost-sensitive learning" (IJCAI): each image gets the decision with the lowest expected
cost by its probability, and the mean cost of the decisions is reported. It rewards calibrated probabilities.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from bench.errors import ConfigError
from bench.types import Measure


@dataclass(frozen=True)
class ExpectedCostConfig:
    """Costs in any common unit; correct decisions cost nothing. The positive class is the case that may be missed."""

    false_negative: float = 5.0  # cost of missing a case of the positive class
    false_positive: float = 1.0  # cost of predicting positive for the other class

    def __post_init__(self) -> None:
        for name in ("false_negative", "false_positive"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ConfigError(f"{name}: got {getattr(self, name)}, expected a finite cost above 0")


class ExpectedCost:
    """Mean cost of a decision when the positive class, the second, is predicted from p = fp / (fp + fn) on.

    Elkan 2001, eq. 2.
    """

    version: ClassVar[int] = 1
    Config: ClassVar[type] = ExpectedCostConfig
    per_patient: ClassVar[bool] = True

    def __init__(self, config: ExpectedCostConfig) -> None:
        self.config = config

    def check(self, classes: Sequence[str]) -> None:
        """Raise ``ConfigError`` unless there are two classes."""
        if len(classes) != 2:
            raise ConfigError(
                f"expected_cost: got {len(classes)} classes, expected 2, of which one is the case that may be missed"
            )

    def measures(self) -> Mapping[str, Measure]:
        """Return the one measure; its unit is that of the two costs."""
        c = self.config
        return {"cost": Measure("lower", "cost of a decision", 0.0, max(c.false_negative, c.false_positive))}

    def compute(
        self,
        y_true: npt.NDArray[np.int64],
        y_prob: npt.NDArray[np.float64],
        groups: Sequence[str],
        classes: Sequence[str],
    ) -> Mapping[str, float]:
        """Return the mean cost: it grows with the share of class 1, so compare it only for the same test set."""
        c = self.config
        called = y_prob[:, 1] >= c.false_positive / (c.false_positive + c.false_negative)
        missed, alarmed = (y_true == 1) & ~called, (y_true == 0) & called
        return {"cost": float((c.false_negative * missed.sum() + c.false_positive * alarmed.sum()) / len(y_true))}
