"""BUSI: breast ultrasound images, benign, malignant and normal, with masks of the lesions.

Al-Dhabyani, Gomaa, Khaled, Fahmy: "Dataset of breast ultrasound images", Data in Brief 28:104863, 2020. An image
``benign (4).png`` has one or more mask files, ``benign (4)_mask.png``, ``benign (4)_mask_1.png``, which are combined by
OR; the masks of normal images are empty. There are no patient ids, and many images show the same scan twice. Near
copies are put in one group (``on_near_duplicate``); more about patients is not known.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from bench.data.listing import ImageChecks, Listed, Listing
from bench.data.records import index_listing
from bench.data.sets.finding import find_layout
from bench.data.walk import Walk
from bench.errors import ConfigError, DataError, nearest
from bench.types import DataProblem, DatasetIndex

HOMEPAGE = "https://scholar.cu.edu.eg/?q=afahmy/pages/dataset"
CLASSES = ("benign", "malignant", "normal")
WHERE = f"""\
Expected layout:
  Dataset_BUSI_with_GT/
    benign/benign (1).png, benign (1)_mask.png, benign (4)_mask_1.png, …
    malignant/malignant (1).png, malignant (1)_mask.png, …
    normal/normal (1).png, normal (1)_mask.png, …
What to do: download the set (196 MB, free) from {HOMEPAGE}, unpack it anywhere, and name that folder with `--data DIR`
or the variable BENCH_DATA, e.g. `--data data/Dataset_BUSI_with_GT`."""
_MASK = re.compile(r"(?P<stem>.+)_mask(?:_(?P<number>\d+))?\.png", re.IGNORECASE)


@dataclass(frozen=True)
class BusiConfig(ImageChecks):
    """``classes``: which of benign, malignant and normal to use, in the order of the labels."""

    classes: tuple[str, ...] = CLASSES

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in self.classes:
            if name not in CLASSES:
                raise ConfigError(f"busi: no class is called {name!r}; {nearest(name, CLASSES)}")
        if len(set(self.classes)) < max(2, len(self.classes)):
            raise ConfigError(f"busi: classes are {self.classes}; expected at least 2, each only once")


class Busi:
    """Breast ultrasound; every image is its own group unless near copies link some. Masks in ``mask_paths``."""

    Config = BusiConfig
    modality: ClassVar[str] = "ultrasound"

    def __init__(self, config: Any) -> None:
        self.config: BusiConfig = config

    def index(self, root: Path | None, cache: Path) -> DatasetIndex:
        """Read the images. ``root`` is the folder of the classes, or up to two above it. Raises ``DataError``."""
        return index_listing("busi", self.listing(root), self.config, cache, WHERE)

    def listing(self, root: Path | None) -> Listing:
        """Return the images of the selected classes with their masks, unread; a mask without its image is reported."""
        folder = find_busi_folder(root)
        files: list[Listed] = []
        foreign: list[DataProblem] = []
        walk = Walk(folder)
        for label, name in enumerate(self.config.classes):
            pictures = walk.pictures(name) if (folder / name).is_dir() else []
            masks: dict[str, list[tuple[int, str]]] = {p: [] for p in pictures if not _MASK.fullmatch(p)}
            image_of = {p.lower(): p for p in masks}
            for path in pictures:
                match = _MASK.fullmatch(path)
                image = f"{match['stem']}.png" if match else ""
                if match and image.lower() in image_of:
                    masks[image_of[image.lower()]].append((int(match["number"] or 0), path))
                elif match:
                    foreign.append(DataProblem(path, "mask_without_image", f"{image} does not exist"))
            for path, found in masks.items():
                files.append(Listed(path, label, path, tuple(p for _, p in sorted(found))))
        if not files:
            raise DataError(f"no BUSI images under {folder}.\n{WHERE}")
        walk.leave(CLASSES)
        return Listing(
            folder, self.config.classes, tuple(files), tuple(foreign), False, "", has_masks=True, skipped=walk.skipped
        )


def find_busi_folder(root: Path | None) -> Path:
    """Return the folder of the classes, which holds masks. Raises ``DataError`` with instructions."""

    def holds(folder: Path) -> bool:
        return any(_MASK.fullmatch(p.name) for name in CLASSES for p in (folder / name).glob("*_[mM]*"))

    inside = ("Dataset_BUSI_with_GT", "Dataset_BUSI_with_GT/Dataset_BUSI_with_GT")
    missing = "BUSI: no folder benign, malignant or normal with *_mask.png"
    return find_layout(root, "BUSI", holds, inside, missing, WHERE)
