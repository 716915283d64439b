"""The reference workload for step times, and a clock that excludes waiting for a core.

The reference workload is one training step of a small convolutional network in plain torch: changes of this project do
not affect it, but a slower machine slows it too. The clock is wall time minus the time in which the thread was ready
but had no core. Sleeping and waiting for files count; time taken by other processes does not.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

SIZE_PX, BATCH, FILTERS, BLOCKS = 32, 4, 16, 2
WAITED = Path("/proc/thread-self/schedstat")  # Linux: ns on a core, ns ready and without one, time slices


def own_seconds() -> float:
    """Return the clock's time in seconds; wall time if the system does not report the waiting time of a thread."""
    try:
        waited_ns = int(WAITED.read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        waited_ns = 0
    return time.perf_counter() - waited_ns * 1e-9


class ReferenceWorkload:
    """Measures the reference workload next to each measured step."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._step = _training_step(device)[0]
        self.seconds(0.0)
        self._last = self.seconds(0.0)

    def seconds(self, at_least: float) -> float:
        """Return the seconds per call, measured over calls that take about ``at_least`` s in total (1 to 30 calls)."""
        calls = min(30, max(1, round(at_least / self._last))) if at_least else 1
        start = own_seconds()
        for _ in range(calls):
            self._step()
        wait_for(self._device)
        self._last = (own_seconds() - start) / calls
        return self._last


def reference_bits(steps: int = 3) -> bytes:
    """Return the result of a few steps in one thread: the weights, and functions used by networks.

    Two processes with the same bits use the same kernels and the same order of sums.
    """
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        step, network = _training_step("cpu")
        for _ in range(steps):
            step()
        weights = torch.cat([p.detach().flatten() for p in network.parameters()])
        square = torch.outer(weights[:96], weights[-96:]) + torch.eye(96)
        others = [
            square @ square,
            square.softmax(1),
            square.exp(),
            square.tanh(),
            square.std(0),
            torch.linalg.inv(square),
        ]
        return b"".join(x.numpy().tobytes() for x in (weights, *others))
    finally:
        torch.set_num_threads(threads)


def wait_for(device: str) -> None:
    """Wait until a GPU has finished its work."""
    if device.startswith("cuda"):
        import torch

        torch.cuda.synchronize(device)


def _training_step(device: str) -> tuple[Callable[[], None], Any]:
    """Return a training step of a residual network that learns to reproduce noise, and that network."""
    import torch
    import torch.nn.functional as F
    from torch import nn

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(
                nn.Conv2d(FILTERS, FILTERS, 3, padding=1), nn.InstanceNorm2d(FILTERS), nn.ReLU(),
                nn.Conv2d(FILTERS, FILTERS, 3, padding=1), nn.InstanceNorm2d(FILTERS),
            )  # fmt: skip

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.relu(x + self.body(x))

    state = torch.get_rng_state()
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, FILTERS, 7, padding=3), nn.InstanceNorm2d(FILTERS), nn.ReLU(),
        *(Block() for _ in range(BLOCKS)), nn.Conv2d(FILTERS, 3, 7, padding=3), nn.Tanh(),
    ).to(device)  # fmt: skip
    images = torch.rand(BATCH, 3, SIZE_PX, SIZE_PX, device=device) * 2 - 1
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-4)
    torch.set_rng_state(state)

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        F.l1_loss(network(images), images).backward()
        optimiser.step()

    return step, network
