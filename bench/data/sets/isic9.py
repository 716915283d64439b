"""ISIC9: dermoscopy images of nine classes from the ISIC archive, as selected on Kaggle, one folder a class.

"Skin Cancer ISIC: The International Skin Imaging Collaboration", a selection from the ISIC archive
(https://www.isic-archive.com), whose images are CC-BY, CC-BY-NC or CC-0. There are no patient ids, and well over a
hundred images lie in two classes: with the default options both copies are left out. That leaves 2 of 77 images of
seborrheic keratosis (75 are byte for byte images of melanoma too), too few for any fold: a suite names the other eight.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from bench.data.listing import ImageChecks, Listed, Listing
from bench.data.records import index_listing
from bench.data.walk import Walk
from bench.errors import ConfigError, DataError, nearest
from bench.types import DatasetIndex

HOMEPAGE = "https://www.kaggle.com/datasets/nodoubttome/skin-cancer9-classesisic"
CLASSES = (
    "actinic keratosis",
    "basal cell carcinoma",
    "dermatofibroma",
    "melanoma",
    "nevus",
    "pigmented benign keratosis",
    "seborrheic keratosis",
    "squamous cell carcinoma",
    "vascular lesion",
)
_ENOUGH_CLASSES = 5  # folders by which the set is recognised: melanoma and nevus are in other sets too
WHERE = f"""\
Expected layout (the folders above Train may be left out, and so may Train itself):
  Skin cancer ISIC The International Skin Imaging Collaboration/
    Train/
      melanoma/ISIC_0000139.jpg, …
      nevus/ISIC_0000019.jpg, …
      … ({len(CLASSES)} classes)
What to do: download the set (800 MB, free) from {HOMEPAGE}, unpack it anywhere, and name that folder with `--data DIR`
or the variable BENCH_DATA. The folder Test is not used: folds are drawn from Train."""


@dataclass(frozen=True)
class Isic9Config(ImageChecks):
    """``classes``: which of the nine to use, in the order of the labels.

    An image that also lies in a class not chosen has two labels all the same, and is treated so.
    """

    classes: tuple[str, ...] = CLASSES

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in self.classes:
            if name not in CLASSES:
                raise ConfigError(f"isic9: no class is called {name!r}; {nearest(name, CLASSES)}")
        if len(set(self.classes)) < max(2, len(self.classes)):
            raise ConfigError(f"isic9: classes are {self.classes}; at least 2 are needed, each named once")


class Isic9:
    """Dermoscopy of nine classes; every image its own group until near copies tie some together."""

    Config = Isic9Config
    modality: ClassVar[str] = "dermoscopy"

    def __init__(self, config: Any) -> None:
        self.config: Isic9Config = config

    def index(self, root: Path | None, cache: Path) -> DatasetIndex:
        """Read the images below the ``Train`` folder, wherever it lies in ``root``. Raises ``DataError``."""
        listing = self.listing(root)
        others = tuple(name for name in CLASSES if name not in self.config.classes)
        witnesses = _listed(Walk(listing.root), others, len(self.config.classes))
        whole = replace(listing, files=(*listing.files, *witnesses), others=others)
        return index_listing("isic9", whole, self.config, cache, WHERE)

    def listing(self, root: Path | None) -> Listing:
        """Return the images of the chosen classes, unread. Raises ``DataError`` when there are none."""
        folder = find_train_folder(root)
        walk = Walk(folder)
        files = _listed(walk, self.config.classes)
        walk.leave(CLASSES)
        if not files:
            raise DataError(f"no images of {', '.join(self.config.classes)} under {folder}.\n{WHERE}")
        return Listing(folder, self.config.classes, tuple(files), knows_groups=False, stain="", skipped=walk.skipped)


def _listed(walk: Walk, classes: tuple[str, ...], first_label: int = 0) -> list[Listed]:
    return [
        Listed(path, label, path)
        for label, name in enumerate(classes, start=first_label)
        if (walk.root / name).is_dir()
        for path in walk.pictures(name)
    ]


def find_train_folder(root: Path | None) -> Path:
    """Return the folder of the class folders. Raises ``DataError`` that says what to do."""
    if root is None:
        raise DataError(f"the ISIC images are needed, and no folder was named.\n{WHERE}")
    if not root.is_dir():
        raise DataError(f"there is no folder {root}.\n{WHERE}")
    for pattern in (".", "Train", "*/Train", "*/*/Train"):
        for candidate in sorted(root.glob(pattern)) if pattern != "." else [root]:
            if sum((candidate / name).is_dir() for name in CLASSES) >= _ENOUGH_CLASSES:
                return candidate
    raise DataError(f"{root} does not hold most of ISIC's nine classes, directly or in a folder Train.\n{WHERE}")
