"""Stain augmentation and stain normalisation of histology images, by ``mode``.

- ``hed_jitter``: densities of haematoxylin, eosin and residual are scaled and shifted. Tellez et al. 2019, "Quantifying
  the effects of data augmentation and stain color normalization in convolutional neural networks for computational
  pathology"; ``classical`` has the same jitter among its other transformations.
- ``randstainna``: mean and deviation of each channel are replaced by randomly drawn ones, in a colour space drawn for
  each image from LAB, HSV and HED. Shen et al. 2022, "RandStainNA: Learning Stain-Agnostic Features from Histology
  Slides by Bridging Stain Augmentation and Normalization". They are drawn from normal distributions over the training
  images.
- ``macenko``: all images, also those a classifier is tested on, are normalised to the median stain of the training
  images; see ``baselines.macenko``.

Changed against all: images with less than 1 % tissue are left as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from baselines.online_method import OnlineMethod
from bench.errors import ConfigError, DataError
from bench.interfaces import TrainingData
from bench.types import FloatRange, SearchRange

if TYPE_CHECKING:
    import torch

MODES = ("hed_jitter", "randstainna", "macenko")
SPACES = ("lab", "hsv", "hed")
BATCH = 32  # images, when statistics are fitted
LEAST_DEVIATION = 1e-3  # of a channel, as a share of the mean deviation: avoids large factors


@dataclass(frozen=True)
class StainConfig:
    """The mode and its strength."""

    mode: Literal["hed_jitter", "randstainna", "macenko"] = "hed_jitter"
    strength: float = 0.05  # of hed_jitter, in optical density: factor 1 ± strength, shift ± strength
    spread: float = 1.0  # of randstainna: factor of the deviations of the distributions that are drawn from

    def __post_init__(self) -> None:
        """Raise ``ConfigError`` for values out of range."""
        if self.mode not in MODES:
            raise ConfigError(f"mode: got {self.mode!r}, expected {', '.join(MODES)}")
        if not 0 <= self.strength < 1:
            raise ConfigError(f"strength: got {self.strength}, expected 0 or more and less than 1")
        if not self.spread >= 0:
            raise ConfigError(f"spread: got {self.spread}, expected 0 or more")


class Stain(OnlineMethod):
    """Varies, or normalises, the stain of images; its statistics are those of the fold's training images."""

    Config: ClassVar[type] = StainConfig

    def __init__(self, config: StainConfig) -> None:
        self.config = config
        self._statistics: Mapping[str, Any] | None = None

    def search_space(self) -> dict[str, SearchRange]:
        """Return the range of the setting that the mode has; {} for ``macenko``, which has none."""
        own: dict[str, dict[str, SearchRange]] = {
            "hed_jitter": {"strength": FloatRange(0.0, 0.2)},
            "randstainna": {"spread": FloatRange(0.0, 2.0)},
            "macenko": {},
        }
        return own[self.config.mode]

    def check_colour(self, grey: bool) -> None:
        """Raise ``ConfigError`` for a data set without colour: grey images have no stain."""
        if grey:
            raise ConfigError("the images are grey and have no stain; expected colour images of stained tissue")

    def fit_statistics(self, data: TrainingData) -> Mapping[str, Any]:
        """Return the statistics of the training images that the mode needs, as JSON values; {} for ``hed_jitter``.

        ``randstainna``: for each colour space 'mean' and 'sd', each [6]: over images, the mean and the deviation of the
        means of the three channels, then of their standard deviations. ``macenko``: 'vectors' [2, 3], 'largest' [2].
        Raises ``DataError`` if no image has tissue.
        """
        if self.config.mode == "hed_jitter":
            return {}
        return _colour_statistics(data) if self.config.mode == "randstainna" else _target_stain(data)

    def use_statistics(self, values: Mapping[str, Any]) -> None:
        """Set what ``fit_statistics`` returned; ``transform`` and ``prepare`` need it."""
        self._statistics = values

    def prepare(self, images: torch.Tensor) -> torch.Tensor:
        """Return images float [B, 3, H, W] in [0, 1] as a classifier gets them, also in tests: normalised ones in mode
        ``macenko``, else the same.
        """
        if self.config.mode != "macenko":
            return images
        from baselines.macenko import normalised

        fitted = self._fitted()
        return normalised(images, images.new_tensor(fitted["vectors"]), images.new_tensor(fitted["largest"]))

    def transform(
        self, images: torch.Tensor, targets: torch.Tensor, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return images float [B, 3, H, W] in [0, 1] with other stains, and the same targets."""
        import torch

        if self.config.mode == "macenko":
            return images, targets
        from baselines.macenko import LEAST_TISSUE, optical_density, tissue_pixels

        vary = self._jittered if self.config.mode == "hed_jitter" else self._drawn
        changed = vary(images, generator)
        has_tissue = tissue_pixels(optical_density(images)).float().mean(dim=1) >= LEAST_TISSUE
        return torch.where(has_tissue[:, None, None, None], changed, images), targets

    def _jittered(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        import torch

        from baselines.classical import jitter_stain

        draws = (2 * torch.rand(2, len(images), 3, 1, 1, generator=generator) - 1) * self.config.strength
        factor, shift = draws.to(images)
        return jitter_stain(images, 1 + factor, shift)

    def _drawn(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Replace the channel statistics of each image by drawn ones, in the colour space drawn for it."""
        import torch

        fitted, spaces = self._fitted(), _spaces()
        chosen = torch.randint(len(SPACES), (len(images),), generator=generator)
        normal = torch.randn(len(images), 6, generator=generator)
        changed = images.clone()
        for number, name in enumerate(SPACES):
            rows = (chosen == number).nonzero()[:, 0]
            if not len(rows):
                continue
            there, back = spaces[name]
            average, variation = (torch.tensor(fitted[name][key]) for key in ("mean", "sd"))
            target = (average + self.config.spread * variation * normal[rows]).to(images)[:, :, None, None]
            mean, sd = target[:, :3], target[:, 3:].clamp_min(0)
            pixels = there(images[rows.to(images.device)])
            least = LEAST_DEVIATION * average[3:].to(images).view(1, 3, 1, 1) + 1e-9
            own_sd = pixels.std(dim=(2, 3), keepdim=True).maximum(least)
            moved = (pixels - pixels.mean(dim=(2, 3), keepdim=True)) * (sd / own_sd) + mean
            changed[rows.to(images.device)] = back(moved)
        return changed

    def _fitted(self) -> Mapping[str, Any]:
        if not self._statistics:
            raise ConfigError(
                f"stain, mode {self.config.mode}: no statistics; call fit_statistics on the training images, then "
                "use_statistics"
            )
        return self._statistics


def _spaces() -> dict[str, Any]:
    """Return the two functions of each colour space: from RGB, and back."""
    from baselines import stain_colours as s

    return {
        "lab": (s.rgb_to_lab, s.lab_to_rgb),
        "hsv": (s.rgb_to_hsv, s.hsv_to_rgb),
        "hed": (s.rgb_to_hed, s.hed_to_rgb),
    }


def _tissue_batches(data: TrainingData) -> Iterator[torch.Tensor]:
    """Yield the training images with tissue, float [B, 3, H, W] in [0, 1]. Raises ``DataError`` if there is none."""
    import torch

    from baselines.macenko import LEAST_TISSUE, optical_density, tissue_pixels

    found, images = 0, data.images()
    for start in range(0, len(images), BATCH):
        batch = torch.tensor(images[start : start + BATCH]).permute(0, 3, 1, 2).float() / 255
        batch = batch[tissue_pixels(optical_density(batch)).float().mean(dim=1) >= LEAST_TISSUE]
        found += len(batch)
        if len(batch):
            yield batch
    if not found:
        raise DataError(
            f"stain: none of the {len(images)} training images has tissue on at least {LEAST_TISSUE:.0%} of its "
            "pixels; expected stained tissue: remove the method from the suite"
        )


def _colour_statistics(data: TrainingData) -> dict[str, Any]:
    import torch

    found: dict[str, list[torch.Tensor]] = {name: [] for name in SPACES}
    for batch in _tissue_batches(data):
        for name, (there, _) in _spaces().items():
            pixels = there(batch).double()
            found[name].append(torch.cat([pixels.mean(dim=(2, 3)), pixels.std(dim=(2, 3))], dim=1))
    rows = {name: torch.cat(parts) for name, parts in found.items()}
    return {
        name: {"mean": x.mean(dim=0).tolist(), "sd": x.std(dim=0, correction=0).tolist()} for name, x in rows.items()
    }


def _target_stain(data: TrainingData) -> dict[str, Any]:
    import torch

    from baselines.macenko import find_stains, optical_density

    vectors, largest = [], []
    for batch in _tissue_batches(data):
        stains = find_stains(optical_density(batch))
        vectors.append(stains.vectors[stains.found])
        largest.append(stains.largest[stains.found])
    if not sum(map(len, vectors)):
        raise DataError("stain: no training image has two stains that can be separated; use another mode")
    middle = torch.cat(vectors).median(dim=0).values
    middle = middle / middle.norm(dim=1, keepdim=True)
    return {"vectors": middle.tolist(), "largest": torch.cat(largest).median(dim=0).values.tolist()}
