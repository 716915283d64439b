"""Sums of losses on the device, read at intervals, so that the training loop does not wait for a GPU at each step."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch

from bench.errors import DivergedError

ADVICE = "try a lower learning_rate, clip_grad_norm, or another seed"
NEVER = 2**31  # value of ``bad`` while a loss is finite


class LossMeter:
    """Mean of each loss since the last reset, and the first step at which it was not finite."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.sums: torch.Tensor | None = None  # [losses]
        self.bad: torch.Tensor | None = None  # [losses], steps
        self.count = 0

    def add(self, losses: Mapping[str, torch.Tensor], step: int) -> None:
        """Add the losses (detached scalars, always the same names) of a step, counted from 1."""
        values = torch.stack([loss.float() for loss in losses.values()])
        bad = torch.where(values.isfinite(), NEVER, step)
        if self.sums is None or self.bad is None:
            self.names, self.sums, self.bad = list(losses), values, bad
        else:
            assert self.names == list(losses), f"losses were {self.names}, now {list(losses)}"
            self.sums, self.bad = self.sums + values, torch.minimum(self.bad, bad)
        self.count += 1

    def means(self) -> dict[str, float]:
        """Return the means; waits for the device. Raises ``DivergedError`` when a loss was not finite."""
        if self.sums is None or self.bad is None:
            return {}
        bad = dict(zip(self.names, self.bad.tolist(), strict=True))
        first = min(bad.values())
        if first < NEVER:
            names = ", ".join(name for name, step in bad.items() if step == first)
            raise DivergedError(f"{names} became non-finite at step {first}; {ADVICE}")
        return {n: total / self.count for n, total in zip(self.names, self.sums.tolist(), strict=True)}

    def reset(self) -> None:
        """Clear the sums."""
        self.names, self.sums, self.bad, self.count = [], None, None, 0

    def state_dict(self) -> dict[str, Any]:
        """Return sums, first non-finite steps and count."""
        return {"names": list(self.names), "sums": self.sums, "bad": self.bad, "count": self.count}

    def load_state_dict(self, state: dict[str, Any], device: str) -> None:
        """Load a saved state."""
        self.names, self.count = list(state["names"]), state["count"]
        self.sums, self.bad = (None if x is None else x.to(device) for x in (state["sums"], state["bad"]))


def check_finite(networks: Mapping[str, Iterable[torch.Tensor]], step: int) -> None:
    """Raise ``DivergedError`` when weights are not finite after the last update, which no loss covers."""
    for name, tensors in networks.items():
        if not all(math.isfinite(x.detach().float().sum().item()) for x in tensors):
            raise DivergedError(f"the weights of {name} became non-finite at step {step}; {ADVICE}")
