"""Opens the bytes of an image file: header, first or chosen page, upright; the only module that decodes image bytes.

PNG, JPEG, TIFF, BMP, GIF and WebP are read by Pillow, DICOM by pydicom (``bench.data.dicom``). Orientation tags of EXIF
are applied. What becomes of the decoded values is up to ``bench.data.pixels``.
"""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.data import dicom
from bench.data.dicom import UnusableImage

if TYPE_CHECKING:
    from PIL import Image

ORIENTATION = 0x0112  # tag of EXIF and TIFF
_SWAPPED = (5, 6, 7, 8)  # orientations that exchange width and height
_PREVIEWS = ("MPO",)  # formats whose further pages are previews of the first one


@dataclass(frozen=True, slots=True)
class Header:
    """What a file says of its image before it is decoded.

    ``format`` is Pillow's name, or DICOM; ``width`` and ``height`` in px of the upright image; ``pages``: frames or
    pages; ``orientation``: 1 to 8 as in EXIF, 1 for upright; ``deep_colour``: 16 bits per colour channel, of which
    Pillow reads the upper 8.
    """

    format: str
    width: int
    height: int
    pages: int = 1
    orientation: int = 1
    deep_colour: bool = False


def header_of(content: bytes) -> Header:
    """Return the header of a file. Raises ``UnusableImage`` (DICOM), or Pillow's errors."""
    from PIL import Image

    if dicom.is_dicom(content):
        return Header("DICOM", *dicom.size_of(content))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # examine.MAX_PIXELS limits the size instead
        with Image.open(io.BytesIO(content)) as probe:
            kind, (width, height), turned = str(probe.format), probe.size, orientation_of(probe)
            pages = 1 if kind in _PREVIEWS else int(getattr(probe, "n_frames", 1))
            if turned in _SWAPPED and kind != "TIFF":  # Pillow has exchanged them for TIFF
                width, height = height, width
            return Header(kind, width, height, pages, turned, _is_deep_colour(probe))


def open_image(content: bytes, page: int = 1) -> Image.Image:
    """Decode a file's bytes completely, upright and independent of process-wide Pillow settings.

    ``page`` counts from 1. Grey images of more than 8 bits have a mode of I or F (``pixels.is_deep``); if a DICOM file
    has a window, it is ``info[WINDOW]``, the lowest and the highest value shown. Raises ``UnusableImage`` if the page
    does not exist or pydicom is needed and not installed, else the errors of Pillow and pydicom.
    """
    from PIL import Image

    if dicom.is_dicom(content):
        return dicom.open_dicom(content, page)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        with Image.open(io.BytesIO(content)) as probe:
            probe.verify()  # verifies check sums, which decoding alone does not read
        image = Image.open(io.BytesIO(content))
        if page > 1:
            try:
                image.seek(page - 1)
            except EOFError:
                raise UnusableImage("no_page", f"it has no page {page}; dataset.page selects the page") from None
        image.load()
    return upright(image)


def upright(image: Image.Image) -> Image.Image:
    """Return a decoded image rotated and mirrored as its orientation tag says."""
    from PIL import ImageOps

    return ImageOps.exif_transpose(image) if orientation_of(image) != 1 else image


def orientation_of(image: Image.Image) -> int:
    """Return the orientation tag, 1 to 8; 1 if there is none or it cannot be read."""
    try:
        found = image.getexif().get(ORIENTATION, 1)
    except Exception:  # damaged EXIF data raise many kinds of errors, and the pixels do not depend on them
        return 1
    return found if isinstance(found, int) and 2 <= found <= 8 else 1


def _is_deep_colour(unread: Image.Image) -> bool:
    raw = (tile[3] for tile in getattr(unread, "tile", ()))
    modes = (str(args[0] if isinstance(args, tuple) and args else args) for args in raw)
    return unread.mode[0] not in "IF" and any(";16" in mode for mode in modes)
