"""Label-conditional noise-to-image GAN.

Conditioning after Mirza & Osindero 2014, "Conditional Generative Adversarial Nets"; networks after Radford et al.
2016 (DCGAN), with the noise and the label also modulating each layer (Chen et al. 2019, "On Self Modulation for
Generative Adversarial Networks"); projection discriminator (Miyato & Koyama 2018); hinge loss (Lim & Ye 2017); averaged
generator weights with batch-norm statistics measured anew (Brock et al. 2019).

Off by default is what the authors of ``cgan_skin`` wished for: self-attention (Zhang et al. 2019), spectral norm
(Miyato et al. 2018), progressive growing (Karras et al. 2018), FID and KID by step. At 64, 128, 256 px as at any size.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar, Literal

from bench.errors import ConfigError
from bench.interfaces import RunContext, TrainingData
from bench.seeding import derive_seed
from bench.types import Choice, FloatRange, IntRange, ProfiledStep, SearchRange, SyntheticImage

WEIGHTS_FILE = "generator.safetensors"
BLOCK = (
    32  # images are made in blocks of this size, the last one filled up: an image must not depend on how many follow
)
LATE = {"late": True}  # the metadata of a field that came later: at its default it changes no cell's key


@dataclass(frozen=True)
class ConditionalGANConfig:
    """Budget, size and optimiser. Images are the suite's size, which must be a multiple of 8 pixels."""

    steps: int = 4000  # one update of each network a step
    batch_size: int = 16  # real images a step, and as many generated
    z_dim: int = 64  # noise numbers
    filters: int = 32  # channels next to the image; they double towards the smallest feature map, up to 8 times
    learning_rate: float = 4e-4  # Adam, generator
    discriminator_learning_rate: float = 4e-4  # Adam, discriminator
    beta1: float = 0.5  # Adam
    beta2: float = 0.999  # Adam
    ema: float = 0.999  # decay of the averaged generator, less during the first steps
    sample_every: int = 500  # steps between sample grids
    checkpoint_every: int = 250  # steps
    self_attention: bool = field(default=False, metadata=LATE)  # in both networks, at the largest map up to 32 px
    spectral_norm: bool = field(default=False, metadata=LATE)  # in the discriminator, in place of its instance norm
    progressive: bool = field(default=False, metadata=LATE)  # grow by doubling; equal shares of the steps a size
    fid_every: int = field(default=0, metadata=LATE)  # steps between FID and KID against training images; 0: never

    def __post_init__(self) -> None:
        """Raise ``ConfigError`` for values that cannot be trained with."""
        least = {"steps": 1, "batch_size": 2, "z_dim": 1, "filters": 1, "sample_every": 1, "checkpoint_every": 1}
        for name, low in {**least, "fid_every": 0}.items():
            if getattr(self, name) < low:
                raise ConfigError(f"{name}: got {getattr(self, name)}, expected at least {low}")
        for name in ("learning_rate", "discriminator_learning_rate"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name}: got {getattr(self, name)}, expected more than 0")
        for name in ("beta1", "beta2", "ema"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"{name}: got {getattr(self, name)}, expected in [0, 1)")


class ConditionalGAN:
    """Learns all classes in one generator, and makes new images of any of them from noise."""

    kind: ClassVar[Literal["generative"]] = "generative"
    version: ClassVar[int] = 1
    Config: ClassVar[type] = ConditionalGANConfig
    updates: ClassVar[tuple[str, ...]] = ("discriminator", "generator")

    def __init__(self, config: ConditionalGANConfig) -> None:
        self.config = config

    def search_space(self) -> dict[str, SearchRange]:
        """Return what matters most: both rates, the networks' width, the noise, the averaging, and the budget."""
        c = self.config
        return {
            "learning_rate": FloatRange(1e-4, 1e-3, log=True),
            "discriminator_learning_rate": FloatRange(1e-4, 1e-3, log=True),
            "beta1": Choice((0.0, 0.5)),
            "ema": Choice((0.99, 0.995, 0.999)),
            "z_dim": IntRange(16, 128, log=True),
            "filters": IntRange(max(1, c.filters // 2), 2 * c.filters, log=True),
            "steps": IntRange(max(1, c.steps // 2), 2 * c.steps, log=True),
        }

    def check(self, classes: Sequence[str]) -> None:
        """Any number of classes can be served."""
        if not classes:
            raise ConfigError("cgan: got no classes, expected at least one")

    def check_size(self, image_size_px: int) -> None:
        """Raise ``ConfigError`` unless three halvings and doublings give the size back."""
        if image_size_px % 8 or image_size_px < 16:
            raise ConfigError(f"cgan: got images of {image_size_px} px, expected a multiple of 8 from 16 on")

    def fit(self, data: TrainingData, ctx: RunContext) -> None:
        """Train and leave the averaged generator in ``generator.safetensors``.

        Raises ``ConfigError`` for an image size that is no multiple of 8, ``DataError`` for a class without images,
        ``DivergedError`` for a loss that is not finite.
        """
        self.check_size(data.image_size_px)
        from safetensors.torch import save_file

        from baselines.cgan_training import train

        generator = train(data, self.config, ctx)
        state = {k: v.detach().cpu().contiguous() for k, v in generator.state_dict().items()}
        save_file(state, ctx.folder / WEIGHTS_FILE)

    def training_steps(self, image_size_px: int, batch_size: int, device: str) -> Mapping[str, ProfiledStep]:
        """Return the one training step there is, to be measured; ``batch_size`` real images and as many made.

        Raises ``ConfigError`` for growing networks, whose steps are of as many kinds as there are sizes.
        """
        if self.config.progressive:
            raise ConfigError("cgan: progressive networks have no one step to be measured; set progressive to false")
        from baselines.cgan_training import profiled_step

        return {"step": profiled_step(replace(self.config, batch_size=batch_size), image_size_px, device)}

    def synthesize(
        self, data: TrainingData, counts: Mapping[int, int], fitted: Path, ctx: RunContext
    ) -> Iterator[SyntheticImage]:
        """Yield images by label; image i of a label depends on (ctx.seed, label, i) and the weights only."""
        import torch
        from safetensors.torch import load_file

        from baselines.cgan_training import build_generator
        from baselines.pixels import to_uint8

        c = self.config
        G = build_generator(len(data.classes), data.image_size_px, c)
        G.load_state_dict(load_file(fitted / WEIGHTS_FILE))
        G.to(ctx.device).to(memory_format=torch.channels_last).eval()
        for label, count in sorted(counts.items()):
            for start in range(0, count, BLOCK):
                seeds = [derive_seed("cgan sample", ctx.seed, label, start + i) for i in range(BLOCK)]
                z = torch.stack([torch.randn(c.z_dim, generator=torch.Generator().manual_seed(s)) for s in seeds])
                labels = torch.full((BLOCK,), label, device=ctx.device)
                with ctx.phase("sample"), torch.no_grad():
                    images = to_uint8(G(z.to(ctx.device), labels))
                for image, seed in list(zip(images, seeds, strict=True))[: count - start]:
                    yield SyntheticImage(image, label, seed)
