"""Training budgets in epochs: ``epochs`` in place of ``steps`` of a classifier or a generative method.

Keys of cells, costs and reports know steps only. When a suite is planned, N epochs become

    steps = ceil(N * images / images per step)

with the real images in the largest training part of the suite, so that all folds, set sizes and arms, also those with
synthetic images, have the same number of steps. A step takes ``batch_size`` images, or ``images_per_step`` of the
config if it has this attribute: None for a fit that runs until it has converged, whose steps stay the default.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from bench.errors import ConfigError

EPOCHS, STEPS = "epochs", "steps"


def without_epochs(config: type, data: Mapping[str, Any], where: str) -> tuple[dict[str, Any], float | None]:
    """Return config values without ``epochs``, and the epochs if they are given in place of ``steps``.

    A ``config`` with an own field ``epochs``, or without ``steps``, has no epochs. Raises ``ConfigError`` if both are
    given, and for a config that has both fields.
    """
    names = {f.name for f in fields(config)}
    if {EPOCHS, STEPS} <= names:
        raise ConfigError(f"{where}: {config.__name__} has the fields epochs and steps, expected one; rename one")
    epochs = data.get(EPOCHS)
    if STEPS not in names or epochs is None:
        return dict(data), None
    if data.get(STEPS) is not None:
        raise ConfigError(f"{where}: got steps {data[STEPS]!r} and epochs {epochs!r}, expected one; remove the other")
    if isinstance(epochs, bool) or not isinstance(epochs, int | float) or not 0 < epochs < math.inf:
        raise ConfigError(f"{where}.epochs: got {epochs!r}, expected a number above 0")
    return {key: value for key, value in data.items() if key not in (EPOCHS, STEPS)}, float(epochs)


def images_per_step(config: Any, where: str) -> int | None:
    """Return the real images that a step takes, None if steps do not matter. Raises ``ConfigError`` if unknown."""
    found = getattr(config, "images_per_step", getattr(config, "batch_size", 0))
    if found is not None and not (isinstance(found, int) and found > 0):
        raise ConfigError(f"{where}.epochs: {type(config).__name__} does not train on batches of images; give steps")
    return found


def as_steps(config: Any, epochs: float, images: int, where: str) -> Any:
    """Return a config with the steps of these epochs of ``images`` training images. Raises ``ConfigError``."""
    per_step = images_per_step(config, where)
    if per_step is None:
        return config
    try:
        return replace(config, steps=math.ceil(epochs * images / per_step))
    except ConfigError as e:
        raise ConfigError(f"{where}: {epochs:g} epochs of {images} images: {e}") from None
