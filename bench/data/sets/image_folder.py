"""Any set of images with one folder per class; a regular expression extracts the patient from the path."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.data.given_split import PART, part_named
from bench.data.listing import ImageChecks, Listed, Listing, check_group_name
from bench.data.records import index_listing
from bench.data.suspected_masks import named_masks
from bench.data.walk import PICTURES, Walk, is_loop
from bench.errors import ConfigError, DataError
from bench.types import DataProblem, DatasetIndex

MOST_LISTED = 200  # images without a patient that an error names
LAYOUT = """\
Expected layout, one folder per class (deeper folders are read too):
  DIR/
    <class a>/image_1.png, image_2.jpg, …
    <class b>/image_3.png, …
or such folders in DIR/train, DIR/test and, if there is one, DIR/val"""
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
        check_group_name("image_folder", self.group_name)
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
        parts = part_folders(root)
        classes, walk = self._classes([root / part for part in parts] or [root]), Walk(root, self.config.extensions)
        label_of: dict[str, int] = {}
        part_of: dict[str, str] = {}
        for part in parts or ("",):
            for label, name in enumerate(classes):
                inside = f"{part}/{name}" if part else name
                paths = walk.pictures(inside) if (root / inside).is_dir() else ()
                label_of |= dict.fromkeys(paths, label)
                part_of |= dict.fromkeys(paths, part_named(part) or "")
        walk.leave(parts or classes)
        for part in parts:
            walk.leave(classes, part)
        masks = named_masks(label_of)
        foreign = tuple(DataProblem(p, "suspected_mask", _mask_of(image)) for p, image in masks.items())
        kept = {path: label for path, label in label_of.items() if path not in masks}
        group_of = self._groups(kept)
        files = tuple(
            Listed(path, label, group_of[path], attributes=((PART, part),) if (part := part_of[path]) else ())
            for path, label in kept.items()
        )
        knows = self.config.group_regex is not None
        groups = self.config.group_name
        return Listing(root, classes, files, foreign, knows_groups=knows, skipped=walk.skipped, groups=groups)

    def _classes(self, folders: Sequence[Path]) -> tuple[str, ...]:
        found = sorted({p.name for folder in folders for p in _folders_in(folder)})
        where = folders[0] if len(folders) == 1 else folders[0].parent
        if self.config.classes is not None:
            absent = [c for c in self.config.classes if c not in found]
            if absent:
                raise DataError(
                    f"{where} has no folder {', '.join(absent)}; it has {', '.join(found) or 'none'}.\n{WHERE}"
                )
            found = list(self.config.classes)
        if len(found) < 2:
            raise DataError(f"{where} has {len(found)} class folders; at least 2 are needed.\n{WHERE}")
        return tuple(found)

    def _groups(self, paths: Iterable[str]) -> dict[str, str]:
        """Return the patient of each image. Raises ``DataError`` that lists the images without a patient."""
        if self.config.group_regex is None:
            return {path: path for path in paths}
        matches = {path: re.search(self.config.group_regex, path) for path in paths}
        found = {path: match["group"] or "" for path, match in matches.items() if match}
        unknown = sorted(path for path in matches if not found.get(path))
        if unknown:
            named = "\n".join(f"  {path}" for path in unknown[:MOST_LISTED])
            more = f"\n  and {len(unknown) - MOST_LISTED:,} more" if len(unknown) > MOST_LISTED else ""
            raise DataError(
                f"group_regex {self.config.group_regex!r} finds no patient in {len(unknown):,} of {len(matches):,} "
                f"images:\n{named}{more}\ncorrect the expression, or move the files away: an image of an unknown "
                "patient may cause leakage"
            )
        return found


def part_folders(root: Path) -> tuple[str, ...]:
    """Return the folders of ``root`` that are named as parts (train, val, test), if train and test have classes."""
    found = {p.name: part for p in _folders_in(root) if (part := part_named(p.name))}
    with_classes = {part for name, part in found.items() if len(_folders_in(root / name)) > 1}
    return tuple(sorted(found)) if {"train", "test"} <= with_classes else ()


def _folders_in(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith((".", "__")) and not is_loop(p))


def _mask_of(image: str) -> str:
    return f"named as a mask of {image}" if image else "named as a mask, but its image does not exist"
