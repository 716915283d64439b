"""What a layout on disk names, before any file is read; and the options that every dataset of files has."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bench.data.copies import OnDuplicate, OnNearDuplicate
from bench.errors import ConfigError
from bench.types import DataProblem

OnBadImage = Literal["skip", "refuse"]
Stain = Literal["", "H&E", "H-DAB"]  # none; haematoxylin and eosin; haematoxylin and diaminobenzidine (IHC)
PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif")


@dataclass(frozen=True)
class ImageChecks:
    """What is done about bad images, exact copies and near copies (``records.scan``); base of datasets' configs."""

    on_bad_image: OnBadImage = "skip"
    on_duplicate: OnDuplicate = "drop"
    on_near_duplicate: OnNearDuplicate = "group"

    def __post_init__(self) -> None:
        valid = {
            "on_bad_image": ("skip", "refuse"),
            "on_duplicate": ("drop", "keep", "refuse"),
            "on_near_duplicate": ("group", "drop", "keep", "refuse"),
        }
        for name, values in valid.items():
            if getattr(self, name) not in values:
                raise ConfigError(f"{name} is {getattr(self, name)!r}; valid: {', '.join(values)}")


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
    ``stain`` tells which dyes can be looked for. ``others`` are classes that were not chosen, of the labels after those
    of ``classes``: their files only bear witness to which images lie under two labels.
    """

    root: Path
    classes: tuple[str, ...]
    files: tuple[Listed, ...]
    foreign: tuple[DataProblem, ...] = ()
    knows_groups: bool = True
    stain: Stain = "H&E"
    has_masks: bool = False
    others: tuple[str, ...] = ()


def pictures_under(folder: Path) -> list[str]:
    """Return the files below a folder whose name ends like a picture's, POSIX and relative to it, sorted."""
    found = [p for p in folder.rglob("*") if p.suffix.lower() in PICTURES and not p.name.startswith(".")]
    return sorted(p.relative_to(folder).as_posix() for p in found)
