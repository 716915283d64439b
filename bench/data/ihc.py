"""IHC: immunohistochemistry in folders, ``PR-`` and ``PR+`` or any other classes, brown with DAB on blue haematoxylin.

The layout of MedSynGAN's private set ("PR Classification with MedSynGAN", seraju77, 2025; 128×128 pixels). Other
receptors and scores work by config: ``classes: [ER-, ER+]``, ``classes: ['HER2 0', 'HER2 1+', 'HER2 2+', 'HER2 3+']``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from bench.data.image_folder import ImageFolder, ImageFolderConfig
from bench.data.listing import Listing
from bench.data.records import index_listing
from bench.errors import DataError
from bench.types import DatasetIndex

WHERE = """\
Expected layout, one folder a class (deeper folders are read too):
  DIR/
    PR-/image_1.jpg, …
    PR+/image_2.png, …
What to do: name that folder with `--data DIR` or the variable BENCH_DATA; name other folders with
`--set 'dataset.classes=[ER-, ER+]'`, and where file names tell patients, `dataset.group_regex`. Without any images:
`--set dataset.name=phantom_ihc`."""


@dataclass(frozen=True)
class IHCConfig(ImageFolderConfig):
    """As of ``image_folder``; the last class is the positive one."""

    classes: tuple[str, ...] | None = ("PR-", "PR+")


class IHC(ImageFolder):
    """One folder a class; nuclei are looked for in both dyes."""

    Config = IHCConfig
    modality: ClassVar[str] = "immunohistochemistry"
    haematoxylin: ClassVar[bool] = True
    dab: ClassVar[bool] = True

    def index(self, root: Path | None, cache: Path) -> DatasetIndex:
        """Read the images. Raises ``DataError`` with the expected layout when folders or images are missing."""
        return index_listing("ihc", self.listing(root), self.config, cache, WHERE)

    def listing(self, root: Path | None) -> Listing:
        """Return the images of the chosen classes, unread. Raises ``DataError`` when folders are missing."""
        try:
            return replace(super().listing(root), stain="H-DAB")
        except DataError as error:
            raise DataError(f"{str(error).splitlines()[0]}\n{WHERE}") from None
