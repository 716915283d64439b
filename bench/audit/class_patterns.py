"""Candidates for ``class_regex``: where the class stands in paths, for folders without one folder per class."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from bench.data.sets.folder_layout import (
    CLASS_INSIDE,
    MOST_CLASSES,
    PATIENT_OUTSIDE,
    are_patients,
    folders_in,
    inner_classes,
    inner_folder,
    name_no_classes,
    part_folders,
)
from bench.data.suspected_masks import named_masks
from bench.data.walk import Walk

FEWEST_IMAGES = 4  # of each class
IN_NAMES = (
    r"(?<![A-Za-z0-9])(?i:class|label|grade)[ _-]?(?P<class>\d+)(?!.*/)",
    r"(?:^|/)(?P<class>[A-Za-z]+(?:[ _-][A-Za-z]+)*)[ _-]?\(?\d[^/]*$",
    r"[ _-](?P<class>[A-Za-z]+)\.[^./]+$",
    r"[ _-](?P<class>[01])\.[^./]+$",
)
VIEWS = {  # sides, views and planes of one patient, which are no classes
    "ap", "ax", "axial", "cc", "cor", "coronal", "frontal", "l", "lateral", "left", "lm", "ml", "mlo", "od", "os", "pa",
    "r", "right", "sag", "sagittal",
}  # fmt: skip


def class_options(root: Path) -> dict[str, str]:
    """Return the options of ``image_folder`` that find the classes of a folder without one folder per class.

    Folders of patients, or of something else, that share folders of classes give ``class_regex``, and ``group_regex``
    for patients. A folder without folders, with one, or with those of images and masks gives the ``class_regex`` of
    ``IN_NAMES`` that finds 2 to 30 classes in the names of all pictures, each with at least 4 images. Empty if neither
    fits.
    """
    root = inner_folder(root)
    if inner_classes(root):
        groups = {"group_regex": PATIENT_OUTSIDE} if are_patients(folders_in(root)) else {}
        return {"class_regex": CLASS_INSIDE, **groups}
    names = [folder.name for folder in folders_in(root)]
    if part_folders(root) or (len(names) > 1 and not name_no_classes(names)):
        return {}
    paths = Walk(root).pictures()
    masks = named_masks(paths)
    images = [path for path in paths if path not in masks]
    regex = next((regex for regex in IN_NAMES if _fits(regex, images)), None)
    return {"class_regex": regex} if regex else {}


def _fits(regex: str, paths: Sequence[str]) -> bool:
    """Whether each path has a class, and none is a side, a view, or a number of the images of one name."""
    matches = [re.search(regex, path) for path in paths]
    counts = Counter(match["class"] if match else "" for match in matches)
    if "" in counts or any(set(re.split("[ _-]", name.lower())) & VIEWS for name in counts):
        return False
    ending = [m for m in matches if m and m.string[m.end("class")] == "."]
    repeated = len({m.string[: m.start("class")] for m in ending}) < len(ending)
    return not repeated and 2 <= len(counts) <= MOST_CLASSES and min(counts.values()) >= FEWEST_IMAGES
