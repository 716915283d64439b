"""Averaged generators (Yazıcı et al. 2019, "The Unusual Effectiveness of Averaging in GAN Training").

An exponential moving average of the weights makes the synthetic images; training does not use it. Change to the paper:
the decay is smaller in the first steps.
"""

from __future__ import annotations

import copy
from typing import Any

import torch

from tlsgan.networks import Networks


class GeneratorAverage:
    """θ̄ ← d θ̄ + (1 − d) θ after every step, d = min(decay, (1 + t) / (10 + t)) at step t.

    The second bound, that of TensorFlow's moving averages, removes the influence of the random initial weights in short
    trainings. Running statistics of batch norm are copied.
    """

    def __init__(self, nets: Networks, decay: float):
        self.decay, self.updates = decay, 0
        self.G_ab = copy.deepcopy(nets.G_ab).requires_grad_(False)
        self.G_ba = copy.deepcopy(nets.G_ba).requires_grad_(False)

    @torch.no_grad()
    def update(self, nets: Networks) -> None:
        """Update the averages with the current weights."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        for average, network in ((self.G_ab, nets.G_ab), (self.G_ba, nets.G_ba)):
            torch._foreach_lerp_(list(average.parameters()), list(network.parameters()), 1 - decay)
            for own, buffer in zip(average.buffers(), network.buffers(), strict=True):
                own.copy_(buffer)

    def copy_to(self, nets: Networks) -> None:
        """Copy the averages into the generators."""
        nets.G_ab.load_state_dict(self.G_ab.state_dict())
        nets.G_ba.load_state_dict(self.G_ba.state_dict())

    def state_dict(self) -> dict[str, Any]:
        """Return the averages and the number of updates."""
        return {"updates": self.updates, "G_ab": self.G_ab.state_dict(), "G_ba": self.G_ba.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load a saved state."""
        self.updates = state["updates"]
        self.G_ab.load_state_dict(state["G_ab"])
        self.G_ba.load_state_dict(state["G_ba"])
