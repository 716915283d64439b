"""What the methods that translate images of one class into the other share: ``cyclegan``, ``tlsgan_*``, CUT.

Domain A is the first class, B the second. ``G_ab`` translates A to B, ``G_ba`` translates B to A; both are ResNet
generators (Zhu et al. 2017).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from bench.abilities import ExportedNetwork
from bench.errors import ConfigError, DataError
from bench.interfaces import RunContext, TrainingData
from bench.seeding import derive_seed
from bench.types import Size, SyntheticImage, Uint8Images, height_width
from tlsgan.config import TranslatorConfig


class PairTranslator:
    """Unpaired translation between two classes; ``fit`` of a subclass writes G_ab.safetensors and G_ba.safetensors."""

    kind: ClassVar[Literal["generative"]] = "generative"
    title: ClassVar[str]  # in errors

    def __init__(self, config: TranslatorConfig):
        self.config = config

    def check(self, classes: Sequence[str]) -> None:
        """Raise ``ConfigError`` unless the data set has exactly two classes."""
        if len(classes) != 2:
            raise ConfigError(
                f"{self.title} translates between 2 classes, this dataset has {len(classes)} ({', '.join(classes)}); "
                "choose two of them, or a method for any number of classes such as cgan"
            )

    def synthesize(
        self, data: TrainingData, counts: Mapping[int, int], fitted: Path, ctx: RunContext
    ) -> Iterable[SyntheticImage]:
        """Yield translations into each label, each with the path of its source image.

        If ``counts`` exceed the number of source images, these are used again rotated and mirrored, then also shifted.
        """
        from tlsgan.checkpoint import load_generator
        from tlsgan.synthesis import translate

        for label, count in sorted(counts.items()):
            if count == 0:
                continue
            generator = load_generator(fitted, "G_ba" if label == 0 else "G_ab", self.config, ctx.device)
            records = [r for r in data.records if r.label != label]
            sources = self._images(data, 1 - label)
            seed = derive_seed("tlsgan.synthesize", ctx.seed, label)
            for image, how in translate(generator, sources, count, seed, ctx.device):
                yield SyntheticImage(image, label, how.seed, records[how.source].path)

    def exported_networks(self, data: TrainingData, fitted: Path) -> dict[str, ExportedNetwork]:
        """Return both generators: 'to_1' translates images of class 0 into class 1, 'to_0' the reverse."""
        import torch

        from tlsgan.checkpoint import load_plain_generator
        from tlsgan.synthesis import Translator

        inputs = {"images": torch.rand(2, 3, *height_width(self._size(data)))}
        return {
            f"to_{label}": ExportedNetwork(
                Translator(load_plain_generator(fitted, name, self.config)),
                inputs,
                {"images": f"RGB in [0, 1], of class {1 - label}"},
            )
            for label, name in ((0, "G_ba"), (1, "G_ab"))
        }

    @property
    def resize(self) -> str | None:
        """How images are resized to ``image_size_px``: 'squash' or 'crop'; None: as the suite says."""
        return self.config.resize

    def translation_size_px(self, image_size_px: int) -> Size:
        """Return the side, or (height, width), of the training images in pixels, given the suite's side."""
        return self.config.image_size_px or image_size_px

    def cycle(self, images: Uint8Images, label: int, fitted: Path, ctx: RunContext) -> tuple[Uint8Images, Uint8Images]:
        """Return translations of images of class ``label`` and their reconstructions, all uint8 [N, H, W, 3]."""
        from tlsgan.checkpoint import load_generator
        from tlsgan.synthesis import cycle

        names = ("G_ab", "G_ba") if label == 0 else ("G_ba", "G_ab")
        there, back = (load_generator(fitted, name, self.config, ctx.device) for name in names)
        return cycle(there, back, images, ctx.device)

    def _describe(self, data: TrainingData, config: TranslatorConfig, facts: Mapping[str, Any], folder: Path) -> None:
        """Write facts.json and generator.json."""
        (folder / "facts.json").write_text(json.dumps(facts) + "\n")
        described = {"classes": list(data.classes), "image_size_px": self._size(data), "config": asdict(config)}
        (folder / "generator.json").write_text(json.dumps(described, indent=2) + "\n")

    def _size(self, data: TrainingData) -> Size:
        return self.translation_size_px(data.image_size_px)

    def _images(self, data: TrainingData, label: int) -> Uint8Images:
        chosen = np.flatnonzero(data.labels == label)
        if not len(chosen):
            raise DataError(
                f"the training part has no image of class {data.classes[label]!r}, expected at least 1; "
                "change the split or add images"
            )
        return data.images(self._size(data))[chosen]
