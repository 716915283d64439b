"""Any set of images with one folder a class; a regular expression tells which images are of one patient."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.data.listing import ImageChecks, Listed, Listing
from bench.data.records import index_listing
from bench.errors import ConfigError, DataError
from bench.types import DatasetIndex

LAYOUT = """\
Expected layout, one folder a class (deeper folders are read too):
  DIR/
    <class a>/image_1.png, image_2.jpg, …
    <class b>/image_3.png, …"""
WHERE = f"{LAYOUT}\nWhat to do: name that folder with `--data DIR` or the variable BENCH_DATA."


@dataclass(frozen=True)
class ImageFolderConfig(ImageChecks):
    """``classes``: the folders to read, in the order of the labels; None for all, sorted by name.

    ``group_regex`` is searched in each image's path relative to the root, with ``/``; its named group ``group`` is the
    patient, e.g. ``'/(?P<group>P[0-9]+)_'``. None: every image is its own group, which is right only where no patient
    has two images.
    """

    classes: tuple[str, ...] | None = None
    group_regex: str | None = None
    extensions: tuple[str, ...] = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.classes is not None and len(set(self.classes)) != len(self.classes):
            raise ConfigError(f"image_folder: a class is named twice in {self.classes}")
        if self.group_regex is None:
            return
        try:
            named = "group" in re.compile(self.group_regex).groupindex
        except re.error as e:
            raise ConfigError(f"image_folder: group_regex {self.group_regex!r} is no regular expression: {e}") from e
        if not named:
            raise ConfigError(f"image_folder: group_regex {self.group_regex!r} needs a part named (?P<group>…)")


class ImageFolder:
    """One folder a class."""

    Config = ImageFolderConfig

    def __init__(self, config: Any) -> None:
        self.config: ImageFolderConfig = config

    def index(self, root: Path | None, cache: Path) -> DatasetIndex:
        """Read the images. Raises ``DataError`` with the expected layout when folders or images are missing."""
        return index_listing("image_folder", self.listing(root), self.config, cache, WHERE)

    def listing(self, root: Path | None) -> Listing:
        """Return the images of the chosen classes, unread. Raises ``DataError`` when folders are missing."""
        if root is None:
            raise DataError(f"a folder of images is needed, and none was named.\n{WHERE}")
        if not root.is_dir():
            raise DataError(f"there is no folder {root}.\n{WHERE}")
        classes = self._classes(root)
        files = tuple(f for label, name in enumerate(classes) for f in self._list(root, name, label))
        return Listing(root, classes, files, knows_groups=self.config.group_regex is not None)

    def _classes(self, root: Path) -> tuple[str, ...]:
        present = sorted(p.name for p in root.iterdir() if p.is_dir() and not p.name.startswith((".", "__")))
        if self.config.classes is not None:
            absent = [c for c in self.config.classes if c not in present]
            if absent:
                raise DataError(
                    f"{root} has no folder {', '.join(absent)}; it has {', '.join(present) or 'none'}.\n{WHERE}"
                )
            present = list(self.config.classes)
        if len(present) < 2:
            raise DataError(f"{root} has {len(present)} class folders; at least 2 are needed.\n{WHERE}")
        return tuple(present)

    def _list(self, root: Path, name: str, label: int) -> list[Listed]:
        wanted = tuple(e.lower() for e in self.config.extensions)
        paths = [
            p.relative_to(root).as_posix()
            for p in (root / name).rglob("*")
            if p.suffix.lower() in wanted and not p.name.startswith(".")
        ]
        return [Listed(path, label, self._group(path)) for path in sorted(paths)]

    def _group(self, path: str) -> str:
        if self.config.group_regex is None:
            return path
        match = re.search(self.config.group_regex, path)
        if match is None or not match["group"]:
            raise DataError(
                f"group_regex {self.config.group_regex!r} finds no patient in {path}; mend the expression, or move the "
                "file away: an image of an unknown patient may leak"
            )
        return match["group"]
