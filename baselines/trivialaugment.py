"""TrivialAugment: one random operation of random strength on each image.

Müller & Hutter 2021, "TrivialAugment: Tuning-free Yet State-of-the-Art Data Augmentation", the wide set of strengths.
Changed against it: bilinear interpolation, and the limits of ``baselines.policy`` for chests and ultrasound.
"""

from __future__ import annotations

from typing import Any

from baselines.policy import GEOMETRIES, Policy
from bench.types import Choice, SearchRange


class TrivialAugment(Policy):
    """One operation of 14, with a strength of 31, both drawn uniformly for every image at every step."""

    def search_space(self) -> dict[str, SearchRange]:
        """Return the choice of the geometry; the method has no other setting."""
        return {"geometry": Choice(GEOMETRIES)}

    def operations(self) -> Any:
        """Return torchvision's transform of one image uint8 [3, H, W]."""
        from torchvision.transforms import v2

        return v2.TrivialAugmentWide(interpolation=v2.InterpolationMode.BILINEAR)
