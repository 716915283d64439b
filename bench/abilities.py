"""Optional interfaces of plug-ins: what a method or a classifier can do in addition to ``bench.interfaces``.

The harness recognises an ability by its methods and attributes; a plug-in need not import this module.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from bench.errors import ConfigError
from bench.interfaces import RunContext, TrainingData
from bench.types import ProfiledStep, SearchRange, Size, Uint8Images

if TYPE_CHECKING:
    import torch


@runtime_checkable
class CarriesMasks(Protocol):
    """Optional interface of an online method that can transform a mask together with its image.

    The harness then also trains segmentation networks with this method.
    """

    def transform_with_masks(
        self, images: torch.Tensor, masks: torch.Tensor, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Augment one training batch: images float [B, 3, H, W] in [0, 1], masks float [B, H, W] of 0 and 1.

        Both get the same geometric transform; masks remain 0 or 1. All randomness comes from ``generator`` (on the
        CPU).
        """
        ...


@runtime_checkable
class FitsStatistics(Protocol):
    """Optional interface of an online method with statistics of the training images, such as their stain.

    The harness calls ``fit_statistics`` with the fold's training part, stores the values with their source images,
    checks that these are of the training part, and calls ``use_statistics`` before anything else.
    """

    def fit_statistics(self, data: TrainingData) -> Mapping[str, Any]:
        """Return JSON values; {} if none are needed."""
        ...

    def use_statistics(self, values: Mapping[str, Any]) -> None:
        """Set what ``fit_statistics`` returned."""
        ...

    def prepare(self, images: torch.Tensor) -> torch.Tensor:
        """Return images as the classifier gets them, in training (before ``transform``) and in tests.

        float [B, 3, H, W] in [0, 1], also the result. Deterministic; the result of an image does not depend on others.
        """
        ...


@runtime_checkable
class UsesUnlabelled(Protocol):
    """Optional interface of a generative method that can learn from images of further patients without labels."""

    @property
    def uses_unlabelled(self) -> bool:
        """Whether it does so: its ``fit`` then calls ``TrainingData.unlabelled_images``."""
        ...


def unlabelled_images(method: str, data: TrainingData, size_px: Size | None = None) -> Uint8Images:
    """Return the unlabelled images, uint8 [M, H, W, 3]. Raises ``ConfigError`` if there are none."""
    images = data.unlabelled_images(size_px)
    if not len(images):
        raise ConfigError(
            f"{method}: unlabelled is true, but there are no images without labels; set split.unlabelled_patients with "
            "split.protocol learning_curve, or unlabelled: false"
        )
    return images


@runtime_checkable
class ChecksColour(Protocol):
    """Optional interface of an online method that cannot be used on every data set: one of stains needs colour."""

    def check_colour(self, grey: bool) -> None:
        """Raise ``ConfigError`` if it cannot be used; ``grey``: no image of the data set has colour."""
        ...


@runtime_checkable
class OwnSize(Protocol):
    """Optional interface of a generative method whose images have another size than the suite's.

    They are stretched to the suite's size when they are used.
    """

    def synthetic_size_px(self, image_size_px: int) -> Size:
        """Return the side, or (height, width), of the images that ``synthesize`` yields, given the suite's side."""
        ...


Transfer = Literal["none", "random", "pretrained"]


@runtime_checkable
class OfFamily(Protocol):
    """Optional interface of a generative method that belongs to a family: a plain method and its variants.

    The report's research questions use it to select which methods to compare. Methods of the same family and version
    differ only in their configs; two configs that differ only in ``pretrained`` are an ablation pair, which shows the
    effect of transfer learning.
    """

    family: ClassVar[str]  # 'cyclegan'

    @property
    def transfer(self) -> Transfer:
        """'pretrained' networks; 'random': the same networks from random weights; 'none': no pretrainable part."""
        ...


@runtime_checkable
class Translator(Protocol):
    """Optional interface of a generative method that translates images between two classes in both directions.

    The harness then evaluates translations of *test* images; these are never used to train a classifier.
    """

    def translation_size_px(self, image_size_px: int) -> Size:
        """Return the side, or (height, width), of the images that ``cycle`` takes, given the suite's side."""
        ...

    def cycle(self, images: Uint8Images, label: int, fitted: Path, ctx: RunContext) -> tuple[Uint8Images, Uint8Images]:
        """Return (translations into the other class, reconstructions), both like ``images``, uint8 [N, H, W, 3].

        ``images`` are of class ``label``; ``fitted`` is the folder written by ``fit``. The reconstruction is computed
        from the float translation, not from the rounded one. The result of an image does not depend on other images.
        """
        ...


@runtime_checkable
class SelfClassifier(Protocol):
    """Optional interface of a generative method with a network that can classify images.

    The harness evaluates this classifier on the fold's test images, without training a downstream classifier.
    """

    @property
    def discriminator_classifier(self) -> str:
        """Name of the classifying network in words; '' if the config does not keep that network."""
        ...

    def classify(self, images: Uint8Images, fitted: Path, ctx: RunContext) -> npt.NDArray[np.float64]:
        """Return probabilities float64 [N, C], rows summing to 1, of images uint8 [N, H, W, 3].

        Images are of ``translation_size_px``; ``fitted`` is the folder written by ``fit``. Rows are independent.
        """
        ...

    def translation_size_px(self, image_size_px: int) -> Size:
        """Return the side, or (height, width), of the images that ``classify`` takes, given the suite's side."""
        ...


@dataclass(frozen=True)
class ExportedNetwork:
    """A trained generator in evaluation mode, for `bench export`.

    ``network(*inputs.values())`` returns images float [B, C, H, W] in [-1, 1], C being 1 or 3. ``inputs`` are examples
    with B = 2 by name, and ``meanings`` says in words what each input is.
    """

    network: torch.nn.Module
    inputs: Mapping[str, torch.Tensor]
    meanings: Mapping[str, str]


@runtime_checkable
class Exportable(Protocol):
    """Optional interface of a generative method whose networks can be exported (`bench export`)."""

    def exported_networks(self, data: TrainingData, fitted: Path) -> Mapping[str, ExportedNetwork]:
        """Return the networks that make images, by name, on the CPU; ``fitted`` is the folder written by ``fit``."""
        ...


@runtime_checkable
class Profiled(Protocol):
    """Optional interface of a generative method whose training steps can be measured (`bench profile`).

    If a step updates several networks, a class attribute such as ``updates = ("discriminator", "generator")`` names
    them in the order of their optimiser steps; the time of a step is then reported per network.
    """

    def training_steps(self, image_size_px: int, batch_size: int, device: str) -> Mapping[str, ProfiledStep]:
        """Return the variants of a training step by name; the first is the reference for the others."""
        ...


@runtime_checkable
class Tunable(Protocol):
    """Optional interface of a method or a classifier whose settings can be tuned by `bench tune`."""

    def search_space(self) -> Mapping[str, SearchRange]:
        """Return search ranges by field name of the config; they may depend on the current config.

        The current config is always tried too. A classifier's ``steps`` and ``batch_size`` must not be included: every
        arm has the same budget.
        """
        ...


@runtime_checkable
class ChecksSize(Protocol):
    """Optional interface of a method or a classifier that cannot be trained on images of every size."""

    def check_size(self, image_size_px: int) -> None:
        """Raise ``ConfigError`` if it cannot be trained, as configured, on images of the suite's side.

        Called when a run is planned, so it should be fast: import torch only if the check needs it.
        """
        ...
