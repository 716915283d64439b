"""The files that a dataset layout lists, before any is read, and the options of all file-based data sets."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from bench.data.duplicates import OnDuplicate, OnNearDuplicate
from bench.data.pixels import Intensity
from bench.errors import ConfigError
from bench.types import Alpha, DataProblem, PixelPolicy, SkippedFiles

OnBadImage = Literal["skip", "refuse"]
Stain = Literal["", "H&E", "H-DAB"]  # none; haematoxylin and eosin; haematoxylin and diaminobenzidine (IHC)


@dataclass(frozen=True)
class ImageChecks:
    """How bad images, exact copies and near copies are handled (``records.scan``); base class of dataset configs.

    ``intensity``: the grey values of images with more than 8 bits that are mapped to 0 to 255, for the whole set:
    'auto' (``pixels.grey_window``), or (lowest, highest) as stored. Images of 8 bits per channel are used as they are.
    ``alpha``: transparent pixels are composited on 'white', or 'drop': transparency is ignored. ``page``: of files with
    several pages or frames, from 1.
    """

    on_bad_image: OnBadImage = "skip"
    on_duplicate: OnDuplicate = "drop"
    on_near_duplicate: OnNearDuplicate = "group"
    intensity: Intensity = field(default="auto", metadata={"late": True}, kw_only=True)
    alpha: Alpha = field(default="white", metadata={"late": True}, kw_only=True)
    page: int = field(default=1, metadata={"late": True}, kw_only=True)

    @property
    def policy(self) -> PixelPolicy:
        """How files are read, without the window, which depends on the images."""
        return PixelPolicy(None, self.alpha, self.page)

    def __post_init__(self) -> None:
        valid = {
            "on_bad_image": ("skip", "refuse"),
            "on_duplicate": ("drop", "keep", "refuse"),
            "on_near_duplicate": ("group", "drop", "keep", "refuse"),
            "alpha": ("white", "drop"),
        }
        for name, values in valid.items():
            if getattr(self, name) not in values:
                raise ConfigError(f"{name} is {getattr(self, name)!r}; valid: {', '.join(values)}")
        if self.page < 1:
            raise ConfigError(f"page is {self.page}; expected 1 or more")
        if self.intensity != "auto":
            low, high = self.intensity
            if not (math.isfinite(low) and math.isfinite(high) and low < high):
                raise ConfigError(f"intensity is {[low, high]}; expected auto, or [lowest, highest] grey value to show")


@dataclass(frozen=True, slots=True)
class Listed:
    """A file that a layout lists as an image: POSIX path relative to the root, class and group."""

    path: str
    label: int
    group: str
    masks: tuple[str, ...] = ()
    attributes: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Listing:
    """All images under a root, including those that a config does not select, and files that do not fit the layout.

    ``knows_groups`` is false if the layout has no patient ids, so that every image is its own group; ``groups`` is what
    the groups are otherwise, in the plural. ``skipped`` lists the other files in the folder. ``stain`` says which dyes
    the images have. ``others`` are the classes that were not selected; their labels follow those of ``classes``, and
    their files are only used to find images with two labels.
    """

    root: Path
    classes: tuple[str, ...]
    files: tuple[Listed, ...]
    foreign: tuple[DataProblem, ...] = ()
    knows_groups: bool = True
    stain: Stain = "H&E"
    has_masks: bool = False
    others: tuple[str, ...] = ()
    skipped: tuple[SkippedFiles, ...] = ()
    groups: str = "patients"


def check_group_name(dataset: str, group_name: str) -> None:
    """Raise ``ConfigError`` unless the name of groups is a plural, such as lesions."""
    if not re.fullmatch("[a-z][a-z -]*s", group_name):
        raise ConfigError(f"{dataset}: group_name is {group_name!r}; expected a plural such as lesions")
