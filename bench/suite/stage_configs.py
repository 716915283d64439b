"""Settings of single stages of a suite."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.config import build
from bench.errors import ConfigError
from bench.suite.arms import Rule


@dataclass(frozen=True)
class FidelityConfig:
    """Settings of the fidelity metrics: ``extractor`` is 'inception' or a timm name."""

    extractor: str = "tf_efficientnet_lite0"
    input_size_px: int | None = None
    batch_size: int = 32

    def __post_init__(self) -> None:
        """Raise ``ConfigError`` for invalid sizes."""
        if self.batch_size < 1 or (self.input_size_px is not None and self.input_size_px < 1):
            raise ConfigError(
                f"fidelity: got batch_size {self.batch_size}, input_size_px {self.input_size_px}; expected 1 or more"
            )
        if self.extractor == "inception" and self.input_size_px not in (None, 299):
            raise ConfigError(f"fidelity: got input_size_px {self.input_size_px}, inception needs 299 px: remove it")


@dataclass(frozen=True)
class ExplainConfig:
    """Number of the first fold's test images for which Grad-CAM maps of each arm's classifier are computed."""

    images_per_class: int = 3  # 0: none

    def __post_init__(self) -> None:
        """Raise ``ConfigError`` for an invalid number of images."""
        if self.images_per_class < 0:
            raise ConfigError(f"explain.images_per_class: got {self.images_per_class}, expected 0 or more")


@dataclass(frozen=True)
class SelectionConfig:
    """Selection of synthetic images: ``1 / keep`` times as many are drawn, and the best by ``rule`` are kept.

    The rules are in ``bench.metrics.image_selection``.
    """

    rule: Rule = "none"
    keep: float = 0.5  # share of the drawn images that is kept, in (0, 1)

    def __post_init__(self) -> None:
        """Raise ``ConfigError`` for a share that selects nothing or everything."""
        if not 0 < self.keep < 1:
            raise ConfigError(f"keep: got {self.keep}, expected a share above 0 and below 1")


def as_selections(given: Any) -> tuple[SelectionConfig, ...]:
    """Return the selections of a suite, given as one mapping or a list of them.

    Raises ``ConfigError`` for invalid values, and if one is given twice.
    """
    entries = [given] if isinstance(given, Mapping) else given
    if not isinstance(entries, list | tuple):
        raise ConfigError(f"select: got {given!r}, expected a mapping such as {{rule: realism, keep: 0.5}}, or a list")
    found = tuple(build(SelectionConfig, entry, "select") for entry in entries)
    for s in found:
        if found.count(s) > 1:
            raise ConfigError(f"select: {s.rule} with keep {s.keep:g} is given twice; remove one")
    return found
