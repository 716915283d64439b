"""Options of ``flow_matching``; separate from its training so that planning a run does not import torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from bench.errors import ConfigError


@dataclass(frozen=True)
class FlowMatchingConfig:
    """Training budget, network size, optimiser and sampling."""

    steps: int = 4000  # optimiser steps
    batch_size: int = 16  # images per step
    filters: int = 32  # channels at the image's side; all smaller maps have twice as many
    learning_rate: float = 1e-3  # Adam, after a warm-up of 50 steps; falls to 0 as half a cosine
    ema: float = 0.995  # decay of the averaged network, which makes the images; lower during the first steps
    sample_steps: int = 15  # of Heun's method: two evaluations of the network each, but one in the last
    channels: Literal["auto", 1, 3] = "auto"  # of the images; 'auto': 1 if the data set has no colour, else 3
    unlabelled: bool = field(default=False, metadata={"late": True})  # half of a batch are images without labels
    log_every: int = 10  # steps
    sample_every: int = 1000  # steps between sample grids
    checkpoint_every: int = 500  # steps

    def __post_init__(self) -> None:
        """Raise ``ConfigError`` for values that cannot be trained with."""
        for name in ("steps", "batch_size", "filters", "sample_steps", "log_every", "sample_every", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}: got {getattr(self, name)}, expected at least 1")
        if not self.learning_rate > 0:
            raise ConfigError(f"learning_rate: got {self.learning_rate}, expected more than 0")
        if not 0 <= self.ema < 1:
            raise ConfigError(f"ema: got {self.ema}, expected in [0, 1)")

    def channels_of(self, grey: bool) -> int:
        """Return the number of channels for images with or without colour."""
        return (1 if grey else 3) if self.channels == "auto" else self.channels
