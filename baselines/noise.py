"""Noise with labels: the negative control of a comparison. Its images carry nothing about their class.

A design that cannot tell real images from real images with noise added to them has no power, and a generator whose
images help no more than these has learnt nothing. On negative controls: Lipsitch, Tchetgen Tchetgen & Cohen 2010,
"Negative Controls: A Tool for Detecting Confounding and Bias in Observational Studies".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from bench.interfaces import RunContext, TrainingData
from bench.seeding import derive_seed
from bench.types import SyntheticImage


@dataclass(frozen=True)
class NoiseConfig:
    """No options."""


class Noise:
    """Images of independent, uniform values, 0 to 255, in every pixel and channel; nothing is trained."""

    kind: ClassVar[Literal["generative"]] = "generative"
    version: ClassVar[int] = 1
    Config: ClassVar[type] = NoiseConfig

    def __init__(self, config: NoiseConfig) -> None:
        self.config = config

    def check(self, classes: Sequence[str]) -> None:
        """Accept any classes."""

    def fit(self, data: TrainingData, ctx: RunContext) -> None:
        """Train nothing."""

    def synthesize(
        self, data: TrainingData, counts: Mapping[int, int], fitted: Path, ctx: RunContext
    ) -> Iterator[SyntheticImage]:
        """Yield ``counts[label]`` images of each label, each from its own seed."""
        shape = (data.image_size_px, data.image_size_px, 3)
        for label, n in counts.items():
            for i in range(n):
                seed = derive_seed("noise", ctx.seed, label, i)
                pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
                yield SyntheticImage(pixels, label, seed)
