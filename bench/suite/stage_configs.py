"""Settings of single stages of a suite."""

from __future__ import annotations

from dataclasses import dataclass

from bench.errors import ConfigError


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
