"""``cut`` and ``fastcut``: contrastive unpaired translation of training images of each class into the other.

Park et al. 2020, "Contrastive Learning for Unpaired Image-to-Image Translation". A patch of a translation must be
closer to the patch of its source at the same place than to other patches of that source. This replaces the cycle loss
of CycleGAN (Zhu et al. 2017). A model translates one way, so that two are trained, one for each class. Changed against
the paper: ResNet generators without anti-aliased resampling; number of filters and blocks are options. The method has
no reconstructions: ``cycle`` translates back with the other class's model, which was not trained for that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

from bench.abilities import Transfer
from bench.interfaces import RunContext, TrainingData
from bench.types import FloatRange, IntRange, ProfiledStep, SearchRange
from tlsgan.config import CUTConfig, FastCUTConfig, check_image_size
from tlsgan.translator import PairTranslator


class CUT(PairTranslator):
    """Contrastive unpaired translation (Park et al. 2020). The subclass differs in its config only."""

    title: ClassVar[str] = "CUT"
    version: ClassVar[int] = 1
    Config: ClassVar[type] = CUTConfig
    family: ClassVar[str] = "cut"
    updates: ClassVar[tuple[str, ...]] = ("discriminator", "generator", "discriminator", "generator")
    transfer: ClassVar[Transfer] = "none"
    config: CUTConfig

    def search_space(self) -> dict[str, SearchRange]:
        """Return the options that matter most: learning rate and its decay, contrastive weight, width and budget."""
        c = self.config
        return {
            "learning_rate": FloatRange(5e-5, 2e-3, log=True),
            "lr_decay_start": FloatRange(0.0, 1.0),
            "lambda_nce": FloatRange(0.3, 20.0, log=True),
            "filters": IntRange(max(1, c.filters // 2), 2 * c.filters, log=True),
            "steps": IntRange(max(1, c.steps // 2), 2 * c.steps, log=True),
        }

    def check_size(self, image_size_px: int) -> None:
        """Raise ``ConfigError`` when the networks cannot be trained at this side of the suite's images."""
        check_image_size(self.translation_size_px(image_size_px))

    def fit(self, data: TrainingData, ctx: RunContext) -> None:
        """Train both models; write G_ab.safetensors, G_ba.safetensors, facts.json and generator.json.

        Raises ``DataError`` for a class without images and ``DivergedError`` when a loss is not finite.
        """
        from tlsgan.checkpoint import save_generators
        from tlsgan.cut_training import train

        self.check(data.classes)
        self.check_size(data.image_size_px)
        config = self.config.for_images(data.grey)
        with ctx.phase("data"):
            images_a, images_b = (self._images(data, label) for label in (0, 1))
        ab, ba = train(config, images_a, images_b, ctx)
        save_generators(ctx.folder, ab.G, ba.G)
        parameters = sum(p.numel() for model in (ab, ba) for net in model.networks() for p in net.parameters())
        self._describe(data, config, {"parameters": parameters, "steps": config.steps}, ctx.folder)

    def training_steps(self, image_size_px: int, batch_size: int, device: str) -> Mapping[str, ProfiledStep]:
        """Return the one kind of training step, of both models."""
        from tlsgan.cut_training import profiled_step

        config = replace(self.config, batch_size=batch_size)
        return {"step": profiled_step(config, self.translation_size_px(image_size_px), device)}


class FastCUT(CUT):
    """The faster variant."""

    Config = FastCUTConfig
