"""``flow_matching``: a class-conditional rectified flow, which moves noise to images along nearly straight paths.

Lipman et al. 2023, "Flow Matching for Generative Modeling"; Liu et al. 2023, "Flow Straight and Fast: Learning to
Generate and Transfer Data with Rectified Flow" (without its reflow). Changed against them: one small U-Net
(``flow_networks``), the class as a second input, labels drawn uniformly, an averaged network (Karras et al. 2022,
"Elucidating the Design Space of Diffusion-Based Generative Models"), and Heun's method in few equal steps. With
``unlabelled`` half of each batch are images without labels, with the null label of Ho & Salimans 2022,
"Classifier-Free Diffusion Guidance". A few hundred images or fewer are memorised when it is trained for long: see the
report's memorised samples.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from baselines.flow_config import FlowMatchingConfig
from bench.abilities import ExportedNetwork
from bench.errors import ConfigError
from bench.interfaces import RunContext, TrainingData
from bench.types import Choice, FloatRange, IntRange, ProfiledStep, SearchRange, SyntheticImage

if TYPE_CHECKING:
    from baselines.flow_loop import Process

WEIGHTS_FILE = "velocity.safetensors"


class FlowMatching:
    """Generates images of any class from noise."""

    kind: ClassVar[Literal["generative"]] = "generative"
    version: ClassVar[int] = 1
    Config: ClassVar[type] = FlowMatchingConfig
    name: ClassVar[str] = "flow_matching"

    def __init__(self, config: FlowMatchingConfig) -> None:
        self.config = config

    @property
    def uses_unlabelled(self) -> bool:
        """Whether half of each batch are images without labels, whose class is dropped."""
        return self.config.unlabelled

    def search_space(self) -> dict[str, SearchRange]:
        """Return the options that matter most: rate, averaging, width, budget and sampling steps."""
        c = self.config
        return {
            "learning_rate": FloatRange(1e-4, 3e-3, log=True),
            "ema": Choice((0.99, 0.995, 0.999)),
            "filters": IntRange(max(1, c.filters // 2), 2 * c.filters, log=True),
            "steps": IntRange(max(1, c.steps // 2), 2 * c.steps, log=True),
            "sample_steps": Choice((8, 15, 30)),
        }

    def check(self, classes: Sequence[str]) -> None:
        """Accept any number of classes from one on. Raises ``ConfigError`` for none."""
        if not classes:
            raise ConfigError(f"{self.name}: got no classes, expected at least one")

    def check_size(self, image_size_px: int) -> None:
        """Raise ``ConfigError`` unless the side can be halved twice."""
        if image_size_px % 4 or image_size_px < 16:
            raise ConfigError(f"{self.name}: got images of {image_size_px} px, expected a multiple of 4 from 16 on")

    def fit(self, data: TrainingData, ctx: RunContext) -> None:
        """Train and write the averaged network to ``velocity.safetensors``.

        Raises ``DataError`` for a class without images, ``DivergedError`` for a loss that is not finite, and
        ``ConfigError`` for an image size that the network cannot have.
        """
        from baselines.flow_loop import train

        self.check(data.classes)
        self.check_size(data.image_size_px)
        train(self._process(), self.config, data, ctx, ctx.folder / WEIGHTS_FILE)

    def training_steps(self, image_size_px: int, batch_size: int, device: str) -> Mapping[str, ProfiledStep]:
        """Return the one kind of training step."""
        from baselines.flow_loop import profiled_step

        self.check_size(image_size_px)
        return {
            "step": profiled_step(self._process(), replace(self.config, batch_size=batch_size), image_size_px, device)
        }

    def exported_networks(self, data: TrainingData, fitted: Path) -> dict[str, ExportedNetwork]:
        """Return the network with its steps of sampling; it takes noise and labels."""
        import torch

        from baselines.flow_loop import Sampler, load_network

        side = data.image_size_px
        noise = torch.randn(2, self.config.channels_of(data.grey), side, side)
        inputs = {"noise": noise, "labels": torch.arange(2) % len(data.classes)}
        meanings = {"noise": "standard normal", "labels": "positions of the classes"}
        network = Sampler(
            self._process(), load_network(self.config, data, fitted / WEIGHTS_FILE), self.config.sample_steps
        )
        return {"generator": ExportedNetwork(network, inputs, meanings)}

    def synthesize(
        self, data: TrainingData, counts: Mapping[int, int], fitted: Path, ctx: RunContext
    ) -> Iterator[SyntheticImage]:
        """Yield images by label; image i of a label depends on (ctx.seed, label, i) and the weights only."""
        from baselines.flow_loop import synthesize

        yield from synthesize(self._process(), self.config, data, counts, fitted / WEIGHTS_FILE, ctx)

    def _process(self) -> Process:
        from baselines.flow_processes import RectifiedFlow

        return RectifiedFlow()
