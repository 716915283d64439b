"""Losses summed on the device and read now and then, so that the training loop never waits for a GPU."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch

from bench.errors import DivergedError


class LossMeter:
    """Mean of each loss since the last reading."""

    def __init__(self) -> None:
        self.sums: dict[str, torch.Tensor] = {}
        self.count = 0

    def add(self, losses: Mapping[str, torch.Tensor]) -> None:
        """Add one step's losses (detached scalars)."""
        for name, loss in losses.items():
            self.sums[name] = self.sums[name] + loss if name in self.sums else loss
        self.count += 1

    def means(self, step: int) -> dict[str, float]:
        """Return the means so far, waiting for the device. Raises ``DivergedError`` when one is not finite."""
        values = torch.stack(list(self.sums.values())).tolist() if self.sums else []
        means = {name: value / self.count for name, value in zip(self.sums, values, strict=True)}
        bad = [name for name, mean in means.items() if not math.isfinite(mean)]
        if bad:
            first = step - self.count + 1
            raise DivergedError(
                f"{', '.join(bad)} became non-finite between steps {first} and {step}; "
                "try a lower learning_rate, or another seed"
            )
        return means

    def reset(self) -> None:
        """Start anew."""
        self.sums, self.count = {}, 0

    def state_dict(self) -> dict[str, Any]:
        """Return what has been summed."""
        return {"sums": dict(self.sums), "count": self.count}

    def load_state_dict(self, state: dict[str, Any], device: str) -> None:
        """Take over a saved state."""
        self.sums = {name: value.to(device) for name, value in state["sums"].items()}
        self.count = state["count"]
