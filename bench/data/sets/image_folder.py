"""Any set of images with one folder per class; a regular expression extracts the patient from the path."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.data.listing import ImageChecks, Listed, Listing
from bench.data.records import index_listing
from bench.data.suspected_masks import named_masks
from bench.data.walk import PICTURES, Walk
from bench.errors import ConfigError, DataError
from bench.types import DataProblem, DatasetIndex

LAYOUT = """\
Expected layout, one folder per class (deeper folders are read too):
  DIR/
    <class a>/image_1.png, image_2.jpg, …
    <class b>/image_3.png, …"""
WHERE = f"{LAYOUT}\nWhat to do: give that folder with `--data DIR` or the variable BENCH_DATA."


@dataclass(frozen=True)
class ImageFolderConfig(ImageChecks):
    """``classes``: the folders to read, in the order of the labels; None for all, sorted by name.

    ``group_regex`` is searched in each image's path relative to the root, with ``/``; its named group ``group`` is the
    patient, e.g. ``'/(?P<group>P[0-9]+)_'``. None: every image is its own group, which is correct only if no patient
    has two images. ``group_name``: what these groups are, in the plural, such as 'lesions' or 'slides'.
    """

    classes: tuple[str, ...] | None = None
    group_regex: str | None = None
    extensions: tuple[str, ...] = PICTURES
    group_name: str = field(default="patients", metadata={"late": True})

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.classes is not None and len(set(self.classes)) != len(self.classes):
            raise ConfigError(f"image_folder: a class is listed twice in {self.classes}")
        if not re.fullmatch("[a-z][a-z -]*s", self.group_name):
            raise ConfigError(f"image_folder: group_name is {self.group_name!r}; expected a plural such as lesions")
        if self.group_regex is None:
            return
        try:
            named = "group" in re.compile(self.group_regex).groupindex
        except re.error as e:
            raise ConfigError(f"image_folder: group_regex {self.group_regex!r} is not a regular expression: {e}") from e
        if not named:
            raise ConfigError(f"image_folder: group_regex {self.group_regex!r} needs a part named (?P<group>…)")


class ImageFolder:
    """One folder per class."""

    Config = ImageFolderConfig

    def __init__(self, config: Any) -> None:
        self.config: ImageFolderConfig = config

    def index(self, root: Path | None, cache: Path) -> DatasetIndex:
        """Read the images. Raises ``DataError`` with the expected layout when folders or images are missing."""
        return index_listing("image_folder", self.listing(root), self.config, cache, WHERE)

    def listing(self, root: Path | None) -> Listing:
        """Return the images of the selected classes, unread. Raises ``DataError`` if folders are missing."""
        if root is None:
            raise DataError(f"a folder of images is needed, but none was given.\n{WHERE}")
        if not root.is_dir():
            raise DataError(f"folder {root} does not exist.\n{WHERE}")
        classes, walk = self._classes(root), Walk(root, self.config.extensions)
        label_of = {path: label for label, name in enumerate(classes) for path in walk.pictures(name)}
        walk.leave(classes)
        masks = named_masks(label_of)
        foreign = tuple(DataProblem(p, "suspected_mask", _mask_of(image)) for p, image in masks.items())
        kept = {path: label for path, label in label_of.items() if path not in masks}
        group_of = self._groups(kept)
        files = tuple(Listed(path, label, group_of[path]) for path, label in kept.items())
        knows = self.config.group_regex is not None
        groups = self.config.group_name
        return Listing(root, classes, files, foreign, knows_groups=knows, skipped=walk.skipped, groups=groups)

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

    def _groups(self, paths: Iterable[str]) -> dict[str, str]:
        """Return the patient of each image. Raises ``DataError`` that counts the images without a patient."""
        if self.config.group_regex is None:
            return {path: path for path in paths}
        matches = {path: re.search(self.config.group_regex, path) for path in paths}
        found = {path: match["group"] or "" for path, match in matches.items() if match}
        unknown = sorted(path for path in matches if not found.get(path))
        if unknown:
            examples = ", ".join(unknown[:3])
            raise DataError(
                f"group_regex {self.config.group_regex!r} finds no patient in {len(unknown):,} of {len(matches):,} "
                f"images, such as {examples}; correct the expression, or move the files away: an image of an unknown "
                "patient may cause leakage"
            )
        return found


def _mask_of(image: str) -> str:
    return f"named as a mask of {image}" if image else "named as a mask, but its image does not exist"
