"""What the conditional GANs of two source systems share: noise and a label in, an image out, binary cross entropy.

Mirza & Osindero 2014, "Conditional Generative Adversarial Nets"; the loss is Goodfellow et al. 2014's, the generator's
in its non-saturating form (section 3). A method adds its own size and its two networks.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from bench.errors import ConfigError
from bench.interfaces import RunContext, TrainingData
from bench.seeding import derive_seed
from bench.types import Choice, FloatRange, IntRange, ProfiledStep, SearchRange, SyntheticImage

if TYPE_CHECKING:
    from torch import nn

WEIGHTS_FILE = "generator.safetensors"
BLOCK = 32  # images are made in blocks of this size, the last one filled up: none depends on how many follow


@dataclass(frozen=True)
class LabelGANConfig:
    """Budget and optimiser. The size of the images is the method's own."""

    steps: int = 10_000  # one update of each network a step
    batch_size: int = 16  # real images a step, and as many generated
    z_dim: int = 100  # noise numbers
    learning_rate: float = 2e-4  # Adam, both networks
    beta1: float = 0.5  # Adam
    beta2: float = 0.999  # Adam
    log_every: int = 10  # steps
    sample_every: int = 500  # steps between sample grids
    checkpoint_every: int = 500  # steps

    def __post_init__(self) -> None:
        """Raise ``ConfigError`` for values that cannot be trained with."""
        least = dict.fromkeys(("steps", "z_dim", "log_every", "sample_every", "checkpoint_every"), 1)
        for name, low in {**least, "batch_size": 2}.items():
            if getattr(self, name) < low:
                raise ConfigError(f"{name}: got {getattr(self, name)}, expected at least {low}")
        if not self.learning_rate > 0:
            raise ConfigError(f"learning_rate: got {self.learning_rate}, expected more than 0")
        for name in ("beta1", "beta2"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"{name}: got {getattr(self, name)}, expected in [0, 1)")


class LabelGAN(ABC):
    """Learns all classes in one generator, at a size of its own, and makes new images of any of them from noise."""

    kind: ClassVar[Literal["generative"]] = "generative"
    version: ClassVar[int] = 1
    updates: ClassVar[tuple[str, ...]] = ("discriminator", "generator")
    name: ClassVar[str]
    side_px: ClassVar[int]  # of its images, whatever the suite's are; they are resized when they are used

    def __init__(self, config: LabelGANConfig) -> None:
        self.config = config

    @abstractmethod
    def networks(self, num_classes: int) -> tuple[nn.Module, nn.Module]:
        """Return generator and discriminator, initialised from torch's global generator.

        The generator takes noise float [B, z_dim] and labels int64 [B] to images float [B, 3, S, S] in [-1, 1]; the
        discriminator images and labels to logits float [B], whose sigmoid is the share of real.
        """

    def search_space(self) -> dict[str, SearchRange]:
        """Return what matters most: rate, momentum, noise and budget."""
        steps = self.config.steps
        return {
            "learning_rate": FloatRange(5e-5, 1e-3, log=True),
            "beta1": Choice((0.0, 0.5, 0.9)),
            "z_dim": IntRange(16, 256, log=True),
            "steps": IntRange(max(1, steps // 2), 2 * steps, log=True),
        }

    def check(self, classes: Sequence[str]) -> None:
        """Any number of classes can be served."""
        if not classes:
            raise ConfigError(f"{self.name}: got no classes, expected at least one")

    def fit(self, data: TrainingData, ctx: RunContext) -> None:
        """Train and leave the generator in ``generator.safetensors``. Raises ``DataError`` and ``DivergedError``."""
        from safetensors.torch import save_file

        from baselines.label_gan_training import train

        generator = train(self, data, ctx)
        state = {k: v.detach().cpu().contiguous() for k, v in generator.state_dict().items()}
        save_file(state, ctx.folder / WEIGHTS_FILE)

    def synthetic_size_px(self, image_size_px: int) -> int:
        """Return the side of its images, in pixels, whatever the suite's is."""
        return self.side_px

    def training_steps(self, image_size_px: int, batch_size: int, device: str) -> Mapping[str, ProfiledStep]:
        """Return the one training step there is; it is of the method's own size, whatever ``image_size_px`` says."""
        from baselines.label_gan_training import profiled_step

        return {"step": profiled_step(type(self)(replace(self.config, batch_size=batch_size)), device)}

    def synthesize(
        self, data: TrainingData, counts: Mapping[int, int], fitted: Path, ctx: RunContext
    ) -> Iterator[SyntheticImage]:
        """Yield images by label; image i of a label depends on (ctx.seed, label, i) and the weights only."""
        import torch
        from safetensors.torch import load_file

        from baselines.pixels import to_uint8

        G, _ = self.networks(len(data.classes))
        G.load_state_dict(load_file(fitted / WEIGHTS_FILE))
        G.to(ctx.device).eval()
        for label, count in sorted(counts.items()):
            for start in range(0, count, BLOCK):
                seeds = [derive_seed(self.name, "sample", ctx.seed, label, start + i) for i in range(BLOCK)]
                draws = [torch.Generator().manual_seed(s) for s in seeds]
                z = torch.stack([torch.randn(self.config.z_dim, generator=d) for d in draws])
                labels = torch.full((BLOCK,), label, device=ctx.device)
                with ctx.phase("sample"), torch.no_grad():
                    images = to_uint8(G(z.to(ctx.device), labels))
                for image, seed in list(zip(images, seeds, strict=True))[: count - start]:
                    yield SyntheticImage(image, label, seed)
