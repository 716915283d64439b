"""Hyperparameter ranges of CycleGAN and TL-S-CycleGAN for ``bench tune``."""

from __future__ import annotations

from typing import Protocol

from bench.types import Choice, FloatRange, IntRange, SearchRange
from tlsgan.config import PATCHGAN, CycleGANConfig


class _Configured(Protocol):
    config: CycleGANConfig


def search_space(method: _Configured) -> dict[str, SearchRange]:
    """Return ranges by field: learning rate and decay, loss weights, image pool, flips, filters and steps.

    Filters and steps are within a factor of 2 of the config's, so that a trial costs about as much as the config.
    """
    c = method.config
    space: dict[str, SearchRange] = {
        "learning_rate": FloatRange(5e-5, 2e-3, log=True),
        "lr_decay_start": FloatRange(0.0, 1.0),
        "lambda_cycle": FloatRange(1.0, 20.0, log=True),
        "lambda_identity": FloatRange(0.0, 5.0),
        "pool_size": Choice((0, 50)),
        "flip": Choice((False, True)),
        "filters": IntRange(max(1, c.filters // 2), 2 * c.filters, log=True),
        "steps": IntRange(max(1, c.steps // 2), 2 * c.steps, log=True),
    }
    if c.lambda_class > 0:
        space["lambda_class"] = FloatRange(0.1, 3.0, log=True)
    if c.discriminator != PATCHGAN:
        space["head_dropout"] = FloatRange(0.0, 0.6)
    return space
