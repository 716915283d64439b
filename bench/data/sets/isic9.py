"""ISIC9: dermoscopy images of nine classes from the ISIC archive, as selected on Kaggle, one folder per class.

"Skin Cancer ISIC: The International Skin Imaging Collaboration", a selection from the ISIC archive
(https://www.isic-archive.com), whose images are CC-BY, CC-BY-NC or CC-0. There are no patient ids, and more than a
hundred images are in two classes: with the default options both copies are excluded. This leaves 2 of 77 images of
seborrheic keratosis (75 are byte-identical to images of melanoma), too few for any fold: suites use the other eight
classes.
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
_ENOUGH_CLASSES = 5  # folders by which the set is recognised: other sets have melanoma and nevus too
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

    An image that is also in an unselected class still counts as an image with two labels.
    """

    classes: tuple[str, ...] = CLASSES

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in self.classes:
            if name not in CLASSES:
                raise ConfigError(f"isic9: no class is called {name!r}; {nearest(name, CLASSES)}")
        if len(set(self.classes)) < max(2, len(self.classes)):
            raise ConfigError(f"isic9: classes are {self.classes}; expected at least 2, each only once")


class Isic9:
    """Dermoscopy of nine classes; every image is its own group unless near copies link some."""

    Config = Isic9Config
    modality: ClassVar[str] = "dermoscopy"

    def __init__(self, config: Any) -> None:
        self.config: Isic9Config = config

    def index(self, root: Path | None, cache: Path) -> DatasetIndex:
        """Read the images below the ``Train`` folder, at any depth in ``root``. Raises ``DataError``."""
        listing = self.listing(root)
        others = tuple(name for name in CLASSES if name not in self.config.classes)
        witnesses = _listed(Walk(listing.root), others, len(self.config.classes))
        whole = replace(listing, files=(*listing.files, *witnesses), others=others)
        return index_listing("isic9", whole, self.config, cache, WHERE)

    def listing(self, root: Path | None) -> Listing:
        """Return the images of the selected classes, unread. Raises ``DataError`` if there are none."""
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
    """Return the folder of the class folders. Raises ``DataError`` with instructions."""
    if root is None:
        raise DataError(f"the ISIC images are needed, but no folder was given.\n{WHERE}")
    if not root.is_dir():
        raise DataError(f"folder {root} does not exist.\n{WHERE}")
    for pattern in (".", "Train", "*/Train", "*/*/Train"):
        for candidate in sorted(root.glob(pattern)) if pattern != "." else [root]:
            if sum((candidate / name).is_dir() for name in CLASSES) >= _ENOUGH_CLASSES:
                return candidate
    raise DataError(f"{root} does not hold most of ISIC's nine classes, directly or in a folder Train.\n{WHERE}")
