"""Which files of a folder seem to be segmentation masks of its images, so that none is trained on by mistake."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from bench.data.pixels import GreyValues

if TYPE_CHECKING:
    from PIL import Image

_MASK_NAME = re.compile(
    r"(?P<stem>.+?)[ _.-]+(mask|masks|seg|segmentation|gt|ground_?truth|annotation|label)([ _-]?\d+)?", re.IGNORECASE
)
_SURE_NAME = re.compile(r".+[ _.-]masks?([ _-]?\d+)?", re.IGNORECASE)


def has_two_colours(image: Image.Image, values: GreyValues | None = None) -> bool:
    """Whether a decoded image shows two colours or grey values at most, as a mask does."""
    return values.distinct <= 2 if values else image.getcolors(2) is not None


def named_masks(paths: Iterable[str]) -> dict[str, str]:
    """Return of POSIX paths those named as masks, and the image each belongs to, '' where there is none.

    ``x_mask.png`` and ``x_mask_1.png`` are masks; ``x_seg.png``, ``x_gt.png`` and the like where there is an ``x``.
    """
    paths = list(paths)
    images = {_stem(p): p for p in sorted(paths, reverse=True)}
    found = {}
    for path in paths:
        match = _MASK_NAME.fullmatch(_stem(path))
        partner = images.get(match["stem"], "") if match else ""
        if partner or _SURE_NAME.fullmatch(_stem(path)):
            found[path] = partner
    return found


def mask_partners(two_colours: Mapping[str, bool]) -> dict[str, str]:
    """Return the files of two colours that share their name with an image of more, and that image.

    The names, of POSIX paths, are compared without folder, extension and ``_mask`` or the like at their end.
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


def _stem(path: str) -> str:
    return PurePosixPath(path).stem.lower()
