"""How a training step divides into the updates of its networks: generator, discriminator.

The time from one optimiser step to the next belongs to the network that the later one updates. On a CPU it is measured
during training, at no cost, because there is no asynchronous device. On CUDA it would need a synchronisation at every
update, which would change the measured times; there the shares are measured on a few steps outside the training and
applied to the training's step seconds (``bench.cost.step_costs``).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from bench.cost.keys import phase_s


class UpdateClock:
    """Seconds by name of the updated network; ``order`` names the updates of one step, in their order."""

    def __init__(self, order: Sequence[str], device: str = "cpu") -> None:
        self.order, self.device = tuple(order), device
        self.seconds = dict.fromkeys(self.order, 0.0)
        self.updates = 0
        self._since = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Record the optimiser steps of this process within the block, which contains whole steps."""
        from torch.optim.optimizer import register_optimizer_step_post_hook

        self._since = time.perf_counter()
        handle = register_optimizer_step_post_hook(self._updated)
        try:
            yield
        finally:
            handle.remove()

    def _updated(self, *_: Any) -> None:
        if self.device.startswith("cuda"):
            import torch

            torch.cuda.synchronize(self.device)
        now = time.perf_counter()
        self.seconds[self.order[self.updates % len(self.order)]] += now - self._since
        self.updates += 1
        self._since = now

    def costs(self, steps: int) -> dict[str, float]:
        """Return ``generator_step_s``, …; nothing unless every update of all steps was recorded."""
        if not steps or self.updates != steps * len(self.order):
            return {}
        return {phase_s(f"{name}_step"): seconds for name, seconds in self.seconds.items()}
