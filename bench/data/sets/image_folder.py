"""Any set of images with one folder per class; regular expressions extract the patient, or the class, from the path."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.data.given_split import PART, part_named
from bench.data.listing import ImageChecks, Listed, Listing, check_group_name
from bench.data.path_parts import check_regex, groups_named, named_parts
from bench.data.records import index_listing
from bench.data.sets.folder_layout import (
    CLASS_INSIDE,
    PATIENT_OUTSIDE,
    folders_in,
    inner_classes,
    inner_folder,
    name_no_classes,
    part_folders,
)
from bench.data.suspected_masks import named_masks
from bench.data.walk import PICTURES, Walk
from bench.errors import ConfigError, DataError
from bench.types import DataProblem, DatasetIndex

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

    ``class_regex``: for sets without a folder per class; searched in each image's path, its named group ``class`` is
    the class, e.g. ``'/(?P<class>[01])/[^/]+$'`` for folders of patients that contain folders of classes.
    ``group_regex`` is searched in each image's path relative to the root, with ``/``; its named group ``group`` is the
    patient, e.g. ``'/(?P<group>P[0-9]+)_'``. None: every image is its own group, which is correct only if no patient
    has two images. ``group_name``: what these groups are, in the plural, such as 'lesions' or 'slides'.
    """

    classes: tuple[str, ...] | None = None
    class_regex: str | None = field(default=None, kw_only=True, metadata={"late": True})
    group_regex: str | None = None
    extensions: tuple[str, ...] = PICTURES
    group_name: str = field(default="patients", metadata={"late": True})

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.classes is not None and len(set(self.classes)) != len(self.classes):
            raise ConfigError(f"image_folder: a class is listed twice in {self.classes}")
        check_group_name("image_folder", self.group_name)
        for name, part in (("group_regex", "group"), ("class_regex", "class")):
            check_regex(f"image_folder: {name}", getattr(self, name), part)


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
        root = inner_folder(root)
        walk = Walk(root, self.config.extensions)
        if self.config.class_regex is None:
            classes, label_of, part_of = self._by_folder(walk)
            masks = named_masks(label_of)
        else:
            paths = walk.pictures()
            masks = named_masks(paths)
            images = (path for path in paths if path not in masks)
            classes, label_of, part_of = self._by_path(root, self.config.class_regex, images)
        foreign = tuple(DataProblem(p, "suspected_mask", _mask_of(image)) for p, image in masks.items())
        kept = {path: label for path, label in label_of.items() if path not in masks}
        group_of = self._groups(kept)
        files = tuple(
            Listed(path, label, group_of[path], attributes=((PART, part),) if (part := part_of.get(path)) else ())
            for path, label in kept.items()
        )
        knows = self.config.group_regex is not None
        groups = self.config.group_name
        return Listing(root, classes, files, foreign, knows_groups=knows, skipped=walk.skipped, groups=groups)

    def _by_folder(self, walk: Walk) -> tuple[tuple[str, ...], dict[str, int], dict[str, str]]:
        """Return the classes, and the label and part of each image by its path, where every class has a folder."""
        root, parts = walk.root, part_folders(walk.root)
        classes = self._classes([root / part for part in parts] or [root])
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
        return classes, label_of, part_of

    def _by_path(
        self, root: Path, regex: str, images: Iterable[str]
    ) -> tuple[tuple[str, ...], dict[str, int], dict[str, str]]:
        """Return what ``_by_folder`` does, with the classes that ``class_regex`` finds in the paths of images."""
        found = named_parts(regex, "class", images, "class_regex", "correct it, or move")
        have = tuple(sorted(set(found.values())))
        classes = self.config.classes or have
        absent = sorted(set(classes) - set(have))
        if absent or len(classes) < 2:
            wanted = f"no images of {', '.join(absent)}" if absent else "fewer than 2 classes"
            raise DataError(f"class_regex {regex!r} finds {wanted} in {root}; it finds {', '.join(have) or 'none'}")
        number = {name: label for label, name in enumerate(classes)}
        label_of = {path: number[name] for path, name in found.items() if name in number}
        named = {path: part_named(path.split("/")[0]) for path in label_of}
        in_parts = {"train", "test"} <= set(named.values())
        part_of = {path: str(part) for path, part in named.items() if in_parts and part}
        return classes, label_of, part_of

    def _classes(self, folders: Sequence[Path]) -> tuple[str, ...]:
        found = sorted({p.name for folder in folders for p in folders_in(folder)})
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
        if self.config.classes is None and name_no_classes(found):
            raise DataError(
                f"the folders of {where} are {', '.join(found)}, which are no classes. If the classes are in the names "
                "of the files, set dataset.class_regex; if a table has them, use it: `bench init TABLE`; if these are "
                f"the classes, list them in dataset.classes.\n{WHERE}"
            )
        inner = () if self.config.classes else inner_classes(where)
        if inner:
            raise DataError(
                f"the {len(found)} folders of {where}, such as {found[0]}, seem to be no classes: they share the "
                f"folders {', '.join(inner)}. If those are the classes, set dataset.class_regex={CLASS_INSIDE!r}, and "
                f"dataset.group_regex={PATIENT_OUTSIDE!r} if these are patients (`bench init` proposes it); otherwise "
                "list dataset.classes"
            )
        return tuple(found)

    def _groups(self, paths: Iterable[str]) -> dict[str, str]:
        """Return the patient of each image. Raises ``DataError`` that lists the images without a patient."""
        if self.config.group_regex is None:
            return {path: path for path in paths}
        return groups_named(self.config.group_regex, paths)


def _mask_of(image: str) -> str:
    return f"named as a mask of {image}" if image else "named as a mask, but its image does not exist"
