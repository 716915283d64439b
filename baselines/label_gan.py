"""Label-conditional GANs as augmentation methods of the benchmark. One learns all classes in a single generator.

After Mirza & Osindero 2014, "Conditional Generative Adversarial Nets". A new method is a subclass of ``LabelGAN`` with
a config and two networks, and one line in the registry; ``baselines.gan_model`` lists what else it may define.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Literal

from baselines.gan_model import GANConfig, GANModel
from bench.abilities import ExportedNetwork
from bench.errors import ConfigError
from bench.interfaces import RunContext, TrainingData
from bench.types import Choice, FloatRange, IntRange, ProfiledStep, SearchRange, SyntheticImage

WEIGHTS_FILE = "generator.safetensors"


class LabelGAN(GANModel):
    """Generates images of any class from noise and a label."""

    kind: ClassVar[Literal["generative"]] = "generative"
    version: ClassVar[int] = 1
    Config: ClassVar[type] = GANConfig
    updates: ClassVar[tuple[str, ...]] = ("discriminator", "generator")

    def search_space(self) -> dict[str, SearchRange]:
        """Return the options that matter most: learning rate, momentum, noise and budget."""
        steps = self.config.steps
        return {
            "learning_rate": FloatRange(5e-5, 1e-3, log=True),
            "beta1": Choice((0.0, 0.5, 0.9)),
            "z_dim": IntRange(16, 256, log=True),
            "steps": IntRange(max(1, steps // 2), 2 * steps, log=True),
        }

    def check(self, classes: Sequence[str]) -> None:
        """Accept any number of classes from one on. Raises ``ConfigError`` for none."""
        if not classes:
            raise ConfigError(f"{self.name}: got no classes, expected at least one")

    def fit(self, data: TrainingData, ctx: RunContext) -> None:
        """Train and write the generator to ``generator.safetensors``.

        Raises ``DataError`` for a class without images, ``DivergedError`` for a loss that is not finite, and
        ``ConfigError`` for an image size that the networks cannot have.
        """
        from safetensors.torch import save_file

        from baselines.gan_loop import train

        generator = train(self.for_images(data.grey), data, ctx)
        state = {k: v.detach().cpu().contiguous() for k, v in generator.state_dict().items()}
        save_file(state, ctx.folder / WEIGHTS_FILE)

    def synthetic_size_px(self, image_size_px: int) -> int:
        """Return the side of its images in pixels: the method's own, or the suite's."""
        return self.side_px or image_size_px

    def training_steps(self, image_size_px: int, batch_size: int, device: str) -> Mapping[str, ProfiledStep]:
        """Return the one kind of training step, at the method's own image size if it has one."""
        from baselines.gan_loop import profiled_step

        resized = type(self)(replace(self.config, batch_size=batch_size))
        return {"step": profiled_step(resized, self.side_px or image_size_px, device)}

    def exported_networks(self, data: TrainingData, fitted: Path) -> dict[str, ExportedNetwork]:
        """Return the generator, which takes noise and labels."""
        import torch

        from baselines.gan_sampling import load_generator

        noise, labels = torch.randn(2, self.config.z_dim), torch.arange(2) % len(data.classes)
        meanings = {"noise": "standard normal", "labels": "positions of the classes"}
        network = load_generator(self.for_images(data.grey), data, fitted / WEIGHTS_FILE)
        return {"generator": ExportedNetwork(network, {"noise": noise, "labels": labels}, meanings)}

    def synthesize(
        self, data: TrainingData, counts: Mapping[int, int], fitted: Path, ctx: RunContext
    ) -> Iterator[SyntheticImage]:
        """Yield images by label; image i of a label depends on (ctx.seed, label, i) and the weights only."""
        from baselines.gan_sampling import synthesize

        yield from synthesize(self.for_images(data.grey), data, counts, fitted / WEIGHTS_FILE, ctx)
