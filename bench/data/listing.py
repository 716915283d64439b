"""What a layout on disk names, before any file is read; and the options that every dataset of files has."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from bench.data.duplicates import OnDuplicate, OnNearDuplicate
from bench.data.pixels import Intensity
from bench.errors import ConfigError
from bench.types import DataProblem, SkippedFiles

OnBadImage = Literal["skip", "refuse"]
Stain = Literal["", "H&E", "H-DAB"]  # none; haematoxylin and eosin; haematoxylin and diaminobenzidine (IHC)


@dataclass(frozen=True)
class ImageChecks:
    """What is done about bad images, exact copies and near copies (``records.scan``); base of datasets' configs.

    ``intensity``: which grey values of images of more than 8 bits become 0 to 255, in the whole set: 'auto'
    (``pixels.grey_window``), or (lowest, highest) as stored. Images of 8 bits a channel are used as they are.
    """

    on_bad_image: OnBadImage = "skip"
    on_duplicate: OnDuplicate = "drop"
    on_near_duplicate: OnNearDuplicate = "group"
    intensity: Intensity = field(default="auto", metadata={"late": True}, kw_only=True)

    def __post_init__(self) -> None:
        valid = {
            "on_bad_image": ("skip", "refuse"),
            "on_duplicate": ("drop", "keep", "refuse"),
            "on_near_duplicate": ("group", "drop", "keep", "refuse"),
        }
        for name, values in valid.items():
            if getattr(self, name) not in values:
                raise ConfigError(f"{name} is {getattr(self, name)!r}; valid: {', '.join(values)}")
        if self.intensity != "auto":
            low, high = self.intensity
            if not (math.isfinite(low) and math.isfinite(high) and low < high):
                raise ConfigError(f"intensity is {[low, high]}; expected auto, or [lowest, highest] grey value to show")


@dataclass(frozen=True, slots=True)
class Listed:
    """A file that a layout names as an image: POSIX path relative to the root, what it shows, and whose it is."""

    path: str
    label: int
    group: str
    masks: tuple[str, ...] = ()
    attributes: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Listing:
    """All images under a root, whatever a config chooses among them, and the files that fit the layout badly.

    ``knows_groups`` is false where nothing tells patients apart, so that every image is its own group.
    ``skipped`` are the other files that lie there. ``stain`` tells which dyes can be looked for. ``others`` are classes
    that were not chosen, of the labels after those of ``classes``: their files only tell which images have two labels.
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
