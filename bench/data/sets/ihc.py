"""IHC: immunohistochemistry in folders, ``PR-`` and ``PR+`` or other classes; brown DAB on blue haematoxylin.

The layout of MedSynGAN's private set ("PR Classification with MedSynGAN", seraju77, 2025; 128×128 pixels). Folders
named by a receptor and its level are detected: ``ER-``, ``ER+``; ``HER2 0``, ``HER2 1+``, ``HER2 2+``, ``HER2 3+``.
Others are given in the config: ``classes: [weak, strong]``. A CycleGAN translates between two classes: with more
classes, exclude it and the methods based on it (``methods.cyclegan=false``, ``methods.tlsgan_*=false``), or select two.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from bench.data.listing import Listing
from bench.data.records import index_listing
from bench.data.sets.image_folder import ImageFolder, ImageFolderConfig
from bench.errors import DataError
from bench.types import DatasetIndex

WHERE = """\
Expected layout, one folder per class (deeper folders are read too):
  DIR/
    PR-/image_1.jpg, …
    PR+/image_2.png, …
Folders of another receptor, such as ER-, ER+ or HER2 0, HER2 1+, HER2 2+, HER2 3+, are found by their names too.
What to do: give that folder with `--data DIR` or the variable BENCH_DATA; give folders with other names with
`--set 'dataset.classes=[weak, strong]'`, and patient ids in file names with `dataset.group_regex`. Without any images:
`--set dataset.name=phantom_ihc`."""
_LEVELS = ("neg", "0", "low", "1", "2", "3", "high", "pos")  # in the order of the labels
_CLASS = re.compile(
    r"(?P<receptor>ER|PR|PgR|AR|HER-?2|Ki-?67)[ _-]?"
    r"((?P<neg>-|neg(ative)?)|(?P<pos>\+|pos(itive)?)|(?P<score>0|[123]\+)|(?P<word>low|high))",
    re.IGNORECASE,
)
DEFAULT = ("PR-", "PR+")


@dataclass(frozen=True)
class IHCConfig(ImageFolderConfig):
    """As ``image_folder``; the second of two classes is the positive one, unless ``positive`` is set.

    ``classes``: None takes the folders of one receptor, from negative to positive; ``PR-`` and ``PR+`` have priority.
    """


class IHC(ImageFolder):
    """One folder per class; nuclei are found by both dyes."""

    Config = IHCConfig
    modality: ClassVar[str] = "immunohistochemistry"
    haematoxylin: ClassVar[bool] = True
    dab: ClassVar[bool] = True

    def index(self, root: Path | None, cache: Path) -> DatasetIndex:
        """Read the images. Raises ``DataError`` with the expected layout when folders or images are missing."""
        index = index_listing("ihc", self.listing(root), self.config, cache, WHERE)
        return replace(index, positive=index.classes[1]) if len(index.classes) == 2 else index

    def listing(self, root: Path | None) -> Listing:
        """Return the images of the selected classes, unread. Raises ``DataError`` if folders are missing."""
        try:
            classes = self.config.classes or _classes_in(root)
            found = ImageFolder(replace(self.config, classes=classes)).listing(root)
        except DataError as error:
            raise DataError(f"{str(error).splitlines()[0]}\n{WHERE}") from None
        return replace(found, stain="H-DAB")


def find_ihc_folder(root: Path | None) -> Path:
    """Return ``root`` if it holds two levels or more of a receptor. Raises ``DataError`` with instructions."""
    if root is None or not _receptors_in(root):
        raise DataError(f"{root} holds no folders named by a receptor and its level.\n{WHERE}")
    return root


def _classes_in(root: Path | None) -> tuple[str, ...]:
    """Return the folders of the one receptor below ``root``; the default ones if they exist or no others do."""
    found = {} if root is None or all((root / name).is_dir() for name in DEFAULT) else _receptors_in(root)
    if len(found) > 1:
        raise DataError(
            f"{root} holds folders of several receptors, {', '.join(found)}; give the classes of one of them"
        )
    return next(iter(found.values()), DEFAULT)


def _receptors_in(root: Path) -> dict[str, tuple[str, ...]]:
    """Return the folders of each receptor with at least two levels, from negative to positive."""
    levels: dict[str, dict[str, int]] = {}
    for name in sorted(p.name for p in root.iterdir() if p.is_dir()) if root.is_dir() else ():
        if match := _CLASS.fullmatch(name):
            score = match["score"] or match["word"] or ("neg" if match["neg"] else "pos")
            receptor = match["receptor"].upper().replace("-", "")
            levels.setdefault(receptor, {})[name] = _LEVELS.index(score.lower().rstrip("+"))
    return {k: tuple(sorted(v, key=v.__getitem__)) for k, v in levels.items() if len(set(v.values())) > 1}
