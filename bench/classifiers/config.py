"""Fine-tuning options of a classifier: the same set for every network and every arm of a comparison."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from bench.errors import ConfigError
from bench.types import Choice, FloatRange, SearchRange


@dataclass(frozen=True)
class FineTuneConfig:
    """Budget and optimiser of a fine-tuning. The budget is counted in optimiser steps; see ``bench.suite.epochs``.

    AdamW (Loshchilov & Hutter 2019) with a linear warm-up and a cosine decay to zero (Loshchilov & Hutter 2017).
    """

    saves_backbone: ClassVar[bool] = True  # whether saved weights need no pretrained weights beside them

    steps: int = 1000  # optimiser steps; independent of the training set size
    batch_size: int = 32  # images per step
    learning_rate: float = 3e-4  # at the end of the warm-up
    weight_decay: float = 1e-4
    warmup_fraction: float = 0.05  # share of the steps in which the learning rate rises linearly
    label_smoothing: float = 0.0  # in [0, 1)
    pretrained: bool = True  # start from ImageNet weights
    class_weights: bool = False  # weight the loss by inverse class frequency in the training set
    evaluate_every: int = 100  # steps between validations
    patience: int | None = None  # stop after this many validations without improvement; None: never
    select_by: Literal["balanced_accuracy", "loss"] = (
        "balanced_accuracy"  # on validation; ties are decided by the lower loss
    )
    checkpoint_every: int = 200  # steps

    def __post_init__(self) -> None:
        """Raise ``ConfigError`` for values that cannot be used for training."""
        for name in ("steps", "batch_size", "evaluate_every", "checkpoint_every"):
            require(getattr(self, name) >= 1, self, name, "at least 1")
        require(self.learning_rate > 0, self, "learning_rate", "more than 0")
        require(self.weight_decay >= 0, self, "weight_decay", "0 or more")
        require(0 <= self.warmup_fraction < 1, self, "warmup_fraction", "in [0, 1)")
        require(0 <= self.label_smoothing < 1, self, "label_smoothing", "in [0, 1)")
        require(self.patience is None or self.patience >= 1, self, "patience", "at least 1, or null for never")
        require(self.select_by in ("balanced_accuracy", "loss"), self, "select_by", "'balanced_accuracy' or 'loss'")


def fine_tuning_space(config: FineTuneConfig) -> dict[str, SearchRange]:
    """Return the search space of fine-tuning: rate, decay, warm-up, smoothing. The budget is fixed and the same for
    all.

    The rate is within a factor of 10 of the config's, which depends on whether a network is trained or fine-tuned.
    """
    return {
        "learning_rate": FloatRange(config.learning_rate / 10, config.learning_rate * 10, log=True),
        "weight_decay": FloatRange(1e-6, 1e-1, log=True),
        "warmup_fraction": FloatRange(0.0, 0.3),
        "label_smoothing": FloatRange(0.0, 0.2),
        "class_weights": Choice((False, True)),
    }


def require(holds: bool, config: object, name: str, expected: str) -> None:
    """Raise ``ConfigError`` unless ``holds``; it names the field of ``config``, its value and what was expected."""
    if not holds:
        raise ConfigError(f"{name}: got {getattr(config, name)!r}, expected {expected}")
