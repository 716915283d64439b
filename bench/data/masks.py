"""Segmentation masks of dataset images: which pixels belong to the foreground (a nucleus, a lesion).

Masks are read as published: one or several files per image; 1-bit, grey, colour or 16-bit instance numbers. Every pixel
that is not 0 in any mask of an image belongs to the foreground.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bench.data.image_files import header_of, open_image
from bench.errors import DataError
from bench.types import ImageRecord, Resize, Size, height_width

Masks = npt.NDArray[np.uint8]


def load_masks(root: Path, records: Sequence[ImageRecord], size_px: Size, resize: Resize = "squash") -> Masks:
    """Return the masks of the records as uint8 [N, H, W] of the given size, 1 foreground, 0 background.

    Several masks of an image are combined by OR, then resized like the image (``squash`` or ``crop``) by nearest
    neighbour. Raises ``DataError`` naming the file when a mask is missing, unreadable, or has another size than its
    image, and naming the image when it has no mask.
    """
    if not records:
        return np.zeros((0, *height_width(size_px)), np.uint8)
    return np.stack([_load(root, record, size_px, resize) for record in records])


def pixel_spacing(
    root: Path, records: Sequence[ImageRecord], size_px: Size, resize: Resize = "squash"
) -> list[tuple[float, float]]:
    """Return the pixel spacing (vertical, horizontal) of resized images, in pixels of their originals.

    A squashed image of h × w pixels at H × W has (h / H, w / W). A cropped image keeps its aspect ratio: the smaller
    value for both. Raises ``DataError`` for an image that cannot be read.
    """
    height, width = height_width(size_px)
    sizes = [_size(root / record.path) for record in records]
    found = [(h / height, w / width) for w, h in sizes]
    return [(min(s), min(s)) for s in found] if resize == "crop" else found


def masks_fingerprint(root: Path, records: Iterable[ImageRecord]) -> str | None:
    """Return 16 hex characters over the masks' paths and contents; None when no record has a mask.

    The fingerprint of a data set does not cover masks, because no classifier uses them.
    """
    digest, found = hashlib.sha256(), False
    for path in sorted(path for record in records for path in record.mask_paths):
        found = True
        try:
            content = hashlib.sha256((root / path).read_bytes()).hexdigest()
        except OSError:
            content = "unreadable"  # reported when the mask is used
        digest.update(f"{path}\x1f{content}\x1e".encode())
    return digest.hexdigest()[:16] if found else None


def _load(root: Path, record: ImageRecord, size_px: Size, resize: Resize) -> npt.NDArray[np.uint8]:
    from PIL import Image, ImageOps

    if not record.mask_paths:
        raise DataError(f"{record.path} has no mask; expected at least one")
    expected = _size(root / record.path)
    union = np.zeros(expected[::-1], np.bool_)
    for path in record.mask_paths:
        union |= _read(root / path, expected)
    mask, size = Image.fromarray(union.astype(np.uint8)), height_width(size_px)[::-1]
    nearest = Image.Resampling.NEAREST
    fitted = ImageOps.fit(mask, size, nearest) if resize == "crop" else mask.resize(size, nearest)
    return np.asarray(fitted, dtype=np.uint8)


def _size(path: Path) -> tuple[int, int]:
    """Return the width and height of an upright image from its header."""
    try:
        header = header_of(path.read_bytes())
    except (OSError, DataError) as e:
        raise DataError(f"{path} cannot be read: {e}") from e
    return header.width, header.height


def _read(path: Path, expected: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Return bool [H, W]: True where the file is not 0 (not black in a colour or palette image; alpha is ignored)."""
    try:
        image = open_image(path.read_bytes())
    except Exception as e:  # decoders raise OSError, SyntaxError, ValueError, struct.error, zlib.error, …
        raise DataError(f"the mask {path} cannot be read: {e}; repair it or download it again") from e
    if image.size != expected:
        sizes = [f"{w}×{h}" for w, h in (image.size, expected)]
        raise DataError(f"the mask {path} has {sizes[0]} pixels, its image {sizes[1]}; both must have the same size")
    if image.mode in ("P", "PA"):
        image = image.convert("RGB")
    pixels = np.asarray(image)
    if pixels.ndim == 2:
        return pixels != 0
    opacity = image.getbands()[-1] == "A"
    return (pixels[..., : pixels.shape[-1] - opacity] != 0).any(axis=-1)
