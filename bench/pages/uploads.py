"""Uploaded bytes -> an RGB image, or an error message in one sentence. The size is checked before decoding.

Uploads are read like the files of a data set (``bench.data.pixels``): an upload of a training image gives exactly its
pixels. Notes say what was changed.
"""

from __future__ import annotations

import io
import unicodedata
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from bench.data import dicom
from bench.data.examine import MIN_SIDE_PX, READABLE
from bench.data.image_files import UnusableImage, open_image, orientation_of
from bench.data.pixels import FILE, as_rgb, grey_values, is_transparent, window_for
from bench.pages.server import RequestError
from bench.types import DEFAULT_POLICY, PixelPolicy, Resize, Size, Uint8Images, height_width

if TYPE_CHECKING:
    from PIL import Image

MAX_BYTES = 20 * 1024 * 1024
MAX_PIXELS = 40_000_000
Format = Literal["PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP", "DICOM"]
MAGIC: tuple[tuple[bytes, Format], ...] = (
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"BM", "BMP"),
    (b"GIF8", "GIF"),
)
OTHERS = (  # other common formats, by their first bytes
    (b"PK\x03\x04", "a zip archive"),
    (b"RIFF", "a RIFF file, but no WebP"),
    (b"%PDF", "a PDF"),
    (b"<", "text such as SVG or HTML"),
    (b"\xef\xbb\xbf<", "text such as SVG or HTML"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"II+\x00", "a BigTIFF"),
    (b"MM\x00+", "a BigTIFF"),
)
TAKEN = "supported formats: PNG, JPEG, TIFF, BMP, GIF, WebP, DICOM"
CONVERTED = ("CMYK", "YCbCr", "HSV")
TILE_WIDTH, TILE_LENGTH = 322, 323


@dataclass(frozen=True)
class Upload:
    """A decoded image, mode RGB, with notes about conversions."""

    picture: Image.Image
    notes: tuple[str, ...] = ()


def read_upload(content: bytes, policy: PixelPolicy = DEFAULT_POLICY) -> Upload:
    """Return the image in a file's bytes. Raises ``RequestError`` with one sentence if it cannot be used.

    At most ``MAX_BYTES`` and ``MAX_PIXELS``, both checked before decoding. ``policy`` is the data set's; of files with
    several pages, its page is read. Grey of more than 8 bits without a window of the data set has its own.
    """
    from PIL import Image

    kind = sniff(content)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            notes = _dicom_notes(content, policy) if kind == "DICOM" else _notes(content, kind, policy)
            picture = open_image(content, policy.page)
            return _rgb(picture, notes, policy)
    except RequestError:
        raise
    except UnusableImage as e:
        raise RequestError(422, f"this {kind} file cannot be used: {e}") from None
    except Image.DecompressionBombError:
        raise _too_many_pixels("too many") from None
    except Exception:  # decoders raise OSError, SyntaxError, ValueError, KeyError, struct.error, zlib.error, …
        raise RequestError(422, f"this {kind} file is damaged or incomplete and cannot be decoded") from None


def sniff(content: bytes) -> Format:
    """Return the format by a file's first bytes; its name is ignored. Raises ``RequestError``."""
    if not content:
        raise RequestError(400, "the upload is empty; choose an image file")
    if len(content) > MAX_BYTES:
        raise RequestError(413, f"the upload is too large; the maximum is {MAX_BYTES >> 20} MB")
    if dicom.is_dicom(content):
        return "DICOM"
    if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        return "WEBP"
    for magic, kind in MAGIC:
        if content.startswith(magic):
            return kind
    found = next(
        (name for magic, name in OTHERS if content.lstrip().startswith(magic)), "not an image of a known format"
    )
    raise RequestError(415, f"this is {found}; {TAKEN}")


def fitted(picture: Image.Image, size_px: Size, resize: Resize) -> Uint8Images:
    """Return the image resized like the images of data sets (``bench.data.cache``), uint8 [1, H, W, 3]."""
    from PIL import Image, ImageOps

    size, filter_ = height_width(size_px)[::-1], Image.Resampling.BICUBIC
    made = ImageOps.fit(picture, size, filter_) if resize == "crop" else picture.resize(size, filter_)
    return np.asarray(made, dtype=np.uint8)[None]


def shown_name(name: str) -> str:
    """Return a file's name for display: without folders and control characters, at most 80 characters.

    It is never used as a path.
    """
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    return "".join(c for c in last if unicodedata.category(c)[0] != "C").strip()[:80] or "image"


def _notes(content: bytes, kind: Format, policy: PixelPolicy) -> list[str]:
    """Check the size before decoding, and return notes on orientation and pages. Raises ``RequestError``."""
    from PIL import Image

    with Image.open(io.BytesIO(content), formats=[kind]) as probe:
        _check_size(*probe.size)
        tags = getattr(probe, "tag_v2", {})  # libtiff decodes whole tiles, even for a small image
        if kind == "TIFF" and int(tags.get(TILE_WIDTH, 1)) * int(tags.get(TILE_LENGTH, 1)) > MAX_PIXELS:
            raise _too_many_pixels("a tile with too many")
        notes = ["it was rotated or mirrored as its orientation tag says"] if orientation_of(probe) != 1 else []
        if _has_several(probe):
            notes.append(f"of its pages, page {policy.page} is used, as in the data set")
    return notes


def _dicom_notes(content: bytes, policy: PixelPolicy) -> list[str]:
    if dicom.DEFLATED in content[:4096]:
        raise RequestError(422, "this DICOM file is compressed as a whole (deflated); save it uncompressed")
    width, height, frames = dicom.size_of(content)
    _check_size(width, height)
    return [f"of its frames, frame {policy.page} is used, as in the data set"] if frames > 1 else []


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise _too_many_pixels(f"{width} × {height}")
    if min(width, height) < MIN_SIDE_PX:
        message = f"the image has {width} × {height} pixels; each side needs at least {MIN_SIDE_PX}"
        raise RequestError(422, message)


def _has_several(image: Image.Image) -> bool:
    """Whether a file has several pages. (A camera's JPEG may contain versions of its first.)"""
    if image.format != "TIFF":
        return image.format in ("PNG", "GIF", "WEBP") and bool(getattr(image, "is_animated", False))
    try:
        image.seek(1)  # is_animated would read the whole chain, which may have millions of entries
    except EOFError:
        return False
    return True


def _too_many_pixels(found: str) -> RequestError:
    return RequestError(413, f"the image has {found} pixels; the maximum is {MAX_PIXELS // 10**6} million: crop it")


def _rgb(image: Image.Image, notes: list[str], policy: PixelPolicy) -> Upload:
    if image.mode not in READABLE:
        message = f"got channels {', '.join(image.getbands())} (mode {image.mode}), expected grey or RGB"
        raise RequestError(422, message)
    if values := grey_values(image):
        window = window_for(values, policy.window)
        whose = "as in the data set" if window == policy.window else f"by {window.how}"
        if window.how == FILE:
            whose = f"by {FILE}"
        notes.append(f"its grey values {window.low:g} to {window.high:g} were converted to 8 bits, {whose}")
    if is_transparent(image):
        ignored = policy.alpha == "drop"
        notes.append("its transparency was ignored" if ignored else "its transparent parts were put on white")
    if image.mode in CONVERTED:
        notes.append(f"it was converted from {image.mode} to RGB without a colour profile")
    return Upload(as_rgb(image, policy), tuple(notes))
