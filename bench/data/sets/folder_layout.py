"""How the folders of an image set are arranged: wrapped in another folder, in parts, or one for each patient."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from bench.data.given_split import part_named
from bench.data.positive import implied
from bench.data.walk import PICTURES, is_loop

FEWEST_PATIENTS, MOST_CLASSES = 6, 30
CLASS_INSIDE, PATIENT_OUTSIDE = r"^[^/]+/(?P<class>[^/]+)/", r"^(?P<group>[^/]+)/"  # class folders in other ones
_NO_CLASS = {"image", "images", "img", "imgs", "mask", "masks", "segmentation", "segmentations", "annotations"}


def folders_in(folder: Path) -> list[Path]:
    """Return the folders in a folder, sorted by name, without hidden ones and links that lead back."""
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith((".", "__")) and not is_loop(p))


def inner_folder(root: Path) -> Path:
    """Return the folder that ``root`` only wraps, as unpacked archives do; ``root`` itself if it wraps none.

    Only a folder with several folders, of classes or parts, is returned. Many numbered folders in a single one are not:
    they seem to be the patients of the only class.
    """
    folder = root
    while len(inside := folders_in(folder)) == 1 and not has_pictures(folder):
        folder = inside[0]
    many = len(inside) > MOST_CLASSES or are_patients(inside)
    holds = len(inside) > 1 and (not many or inner_classes(folder))
    return folder if holds else root


def part_folders(root: Path) -> tuple[str, ...]:
    """Return the folders of ``root`` that are named as parts (train, val, test), if train and test have classes."""
    found = {p.name: part for p in folders_in(root) if (part := part_named(p.name))}
    with_classes = {part for name, part in found.items() if len(folders_in(root / name)) > 1}
    return tuple(sorted(found)) if {"train", "test"} <= with_classes else ()


def inner_classes(root: Path) -> tuple[str, ...]:
    """Return the folders that the folders of ``root`` share, if these are the classes and those are something else.

    That is so if those seem to be patients (``are_patients``), more than there are classes; or if only the shared names
    mean a finding and none, as in folders of hospitals with folders 'normal' and 'tumor'. Empty otherwise, also if a
    folder cannot be read.
    """
    folders = folders_in(root)
    outer = [folder.name for folder in folders]
    try:
        if len(folders) < 2 or name_no_classes(outer) or any(map(has_pictures, folders)):
            return ()
        inside = [{p.name for p in folders_in(folder)} for folder in folders]
    except OSError:
        return ()
    names = sorted(set().union(*inside))
    shared = all(sum(name in of for of in inside) > 1 for name in names)
    if not 2 <= len(names) <= MOST_CLASSES or not shared or name_no_classes(names):
        return ()
    by_meaning = implied(names) and not implied(outer)
    by_number = are_patients(folders) and len(names) < len(folders)
    return tuple(names) if by_meaning or by_number else ()


def are_patients(folders: Sequence[Path]) -> bool:
    """Whether folders seem to be patients: at least 6, all of them with a number in their names."""
    return len(folders) >= FEWEST_PATIENTS and _all_have_digits(folders)


def name_no_classes(names: Iterable[str]) -> bool:
    """Whether all names are those of parts or of kinds of files, such as 'train_images' or 'masks'."""
    return all(name.lower() in _NO_CLASS or part_named(re.split("[ _-]", name)[0]) for name in names)


def has_pictures(folder: Path) -> bool:
    """Whether a picture lies directly in a folder."""
    return any(p.name.lower().endswith(PICTURES) and not p.name.startswith(".") for p in folder.iterdir())


def _all_have_digits(folders: Sequence[Path]) -> bool:
    return all(any(c.isdigit() for c in folder.name) for folder in folders)
