"""Files of a folder that seem to be segmentation masks of its images; they must not be used as images."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from posixpath import basename, dirname, splitext
from typing import TYPE_CHECKING

from bench.data.pixels import GreyValues

if TYPE_CHECKING:
    from PIL import Image

_MASK_NAME = re.compile(
    r"(?P<stem>.+?)[ _.-]+(mask|masks|seg|segmentation|gt|ground_?truth|annotation|label)([ _-]?\d+)?", re.IGNORECASE
)
_MASK_FOLDER = re.compile(r"masks?|segmentations?|ground[_ -]?truths?|annotations?", re.IGNORECASE)
_IMAGE_FOLDER = re.compile(r"images?|imgs?", re.IGNORECASE)
_SURE_NAME = re.compile(r".+[ _.-]masks?([ _-]?\d+)?", re.IGNORECASE)


def has_two_colours(image: Image.Image, values: GreyValues | None = None) -> bool:
    """Whether a decoded image has at most two colours or grey values, as a mask does."""
    return values.distinct <= 2 if values else image.getcolors(2) is not None


def named_masks(paths: Iterable[str]) -> dict[str, str]:
    """Return the paths that are named as masks, with the image each belongs to; '' if there is no such image.

    Paths are POSIX. ``x_mask.png`` and ``x_mask_1.png`` are masks; ``x_seg.png``, ``x_gt.png`` and similar names only
    if an image ``x`` exists. So are the pictures of a folder ``masks``, ``segmentation``, … that are named as pictures
    beside it: in the same folder of a class, or in a folder ``images``.
    """
    paths = list(paths)
    named: defaultdict[str, list[str]] = defaultdict(list)
    for path in sorted(paths):
        if not _MASK_FOLDER.fullmatch(_folder(path)):
            named[_stem(path)].append(path)
    found = {}
    for path in paths:
        match = _MASK_NAME.fullmatch(_stem(path))
        partner = next(iter(named.get(match["stem"], ())), "") if match else ""
        if _MASK_FOLDER.fullmatch(_folder(path)):
            partner = partner or next((p for p in named.get(_stem(path), ()) if _beside(path, p)), "")
        if partner or _SURE_NAME.fullmatch(_stem(path)):
            found[path] = partner
    return found


def mask_partners(two_colours: Mapping[str, bool]) -> dict[str, str]:
    """Return the two-colour files that share their name with an image of more colours, and that image.

    Names of POSIX paths are compared without folder, extension and a suffix such as ``_mask``.
    """
    images: defaultdict[str, list[str]] = defaultdict(list)
    for path, is_flat in sorted(two_colours.items()):
        if not is_flat:
            images[_stem(path)].append(path)
    found = {}
    for path in (p for p, is_flat in sorted(two_colours.items()) if is_flat):
        match = _MASK_NAME.fullmatch(_stem(path))
        partners = images.get(_stem(path)) or (images.get(match["stem"]) if match else None)
        if partners:
            found[path] = partners[0]
    return found


def _folder(path: str) -> str:
    return basename(dirname(path))


def _beside(mask: str, image: str) -> bool:
    above = dirname(dirname(mask))
    return image.startswith(f"{above}/") if above else _IMAGE_FOLDER.fullmatch(_folder(image)) is not None


def _stem(path: str) -> str:
    return splitext(basename(path))[0].lower()
