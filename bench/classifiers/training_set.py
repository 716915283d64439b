"""What a classifier is trained on and what its training returns; the interface of networks that fit themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch

from bench.classifiers.config import FineTuneConfig
from bench.interfaces import OnlineAugmenter, RunContext
from bench.leakage import FoldParts, SourceImages
from bench.types import Uint8Images


class LabelledImages(Protocol):
    """Images uint8 [N, H, W, 3] and their labels int64 [N]."""

    @property
    def images(self) -> Uint8Images:
        """uint8 [N, H, W, 3]."""
        ...

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """int64 [N]."""
        ...


class KnownImages(LabelledImages, Protocol):
    """Labelled images with the real images that they are, or were made from."""

    @property
    def source_images(self) -> SourceImages:
        """For the leakage checks."""
        ...


class TrainingSet(KnownImages, Protocol):
    """Training images, with the parts of their fold."""

    @property
    def fold_parts(self) -> FoldParts:
        """The parts that source images are checked against."""
        ...


@dataclass(frozen=True)
class FineTuneResult:
    """``best_validation`` holds 'balanced_accuracy' and 'loss' on the validation images at ``best_step``."""

    best_step: int
    best_validation: Mapping[str, float]
    steps_run: int  # less than the budget when stopped early
    images_seen: int


@runtime_checkable
class FitsItself(Protocol):
    """A network that is not trained by gradient steps: it has its own fit and its own cache of features."""

    def fit(
        self, train: TrainingSet, validation: KnownImages, num_classes: int, config: FineTuneConfig,
        augmenter: OnlineAugmenter, ctx: RunContext,
    ) -> FineTuneResult:  # fmt: skip
        """Fit it in place; ``train_classifier`` has checked the images."""
        ...

    def log_probabilities(self, images: Uint8Images, device: str, cache: Path | None = None) -> torch.Tensor:
        """Return log-softmax float64 [N, C] of images uint8 [N, H, W, 3]."""
        ...
