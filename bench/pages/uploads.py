"""Uploaded bytes -> an RGB image, or an error message in one sentence. The size is checked before decoding.

Uploads are read like the files of a data set (``bench.data.pixels``): orientation tags are ignored, grey values of more
than 8 bits use the data set's window, alpha is dropped. An upload of a training image gives exactly its pixels.
"""

from __future__ import annotations

import io
import unicodedata
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from bench.data.pixels import as_rgb, is_deep, to_levels
from bench.data.records import MIN_SIDE_PX
from bench.pages.server import RequestError
from bench.types import GreyWindow, Resize, Size, Uint8Images, height_width

if TYPE_CHECKING:
    from PIL import Image

MAX_BYTES = 20 * 1024 * 1024
MAX_PIXELS = 40_000_000
Format = Literal["PNG", "JPEG", "TIFF", "BMP"]
MAGIC: tuple[tuple[bytes, Format], ...] = (
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"BM", "BMP"),
)
OTHERS = (  # other common formats, by their first bytes
    (b"GIF8", "a GIF"),
    (b"PK\x03\x04", "a zip archive"),
    (b"RIFF", "a WebP or another RIFF file"),
    (b"%PDF", "a PDF"),
    (b"<", "text such as SVG or HTML"),
    (b"\xef\xbb\xbf<", "text such as SVG or HTML"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"II+\x00", "a BigTIFF"),
    (b"MM\x00+", "a BigTIFF"),
)
TAKEN = "supported formats: PNG, JPEG, TIFF, BMP"
COLOURS = ("1", "L", "P", "RGB")  # modes that need no note
CONVERTED = {
    "LA": "its transparency was ignored",
    "PA": "its transparency was ignored",
    "RGBA": "its transparency was ignored",
    "RGBX": "its fourth channel was ignored",
    "La": "its transparency was ignored",
    "RGBa": "its transparency was ignored",
    "CMYK": "it was converted from CMYK to RGB without a colour profile",
    "YCbCr": "it was converted from YCbCr to RGB",
}
ORIENTATION = 0x0112  # tags of EXIF and TIFF
TILE_WIDTH, TILE_LENGTH = 322, 323
STRIP = 256  # rows converted at once for images of more than 8 bits, because to_levels uses 64-bit numbers


@dataclass(frozen=True)
class Upload:
    """A decoded image, mode RGB, with notes about conversions."""

    picture: Image.Image
    notes: tuple[str, ...] = ()


def read_upload(content: bytes, window: GreyWindow | None = None) -> Upload:
    """Return the image in a file's bytes. Raises ``RequestError`` with one sentence if it cannot be used.

    At most ``MAX_BYTES`` and ``MAX_PIXELS``, both checked before decoding. ``window`` is the data set's; if None, the
    range of 16-bit grey is the smallest number of bits that contains its maximum, and a note is added.
    """
    from PIL import Image

    kind = sniff(content)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(content), formats=[kind]) as probe:
                _check_size(probe)
                _check_alone(probe)
                probe.verify()  # checksums, which decoding does not verify
            picture = Image.open(io.BytesIO(content), formats=[kind])
            picture.load()
            turned = picture.getexif().get(ORIENTATION, 1) != 1
            return _rgb(picture, turned, window)
    except RequestError:
        raise
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


def _check_size(image: Image.Image) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise _too_many_pixels(f"{width} × {height}")
    if min(width, height) < MIN_SIDE_PX:
        message = f"the image has {width} × {height} pixels; each side needs at least {MIN_SIDE_PX}"
        raise RequestError(422, message)
    tags = getattr(image, "tag_v2", {})  # libtiff decodes whole tiles, even for a small image
    if image.format == "TIFF" and int(tags.get(TILE_WIDTH, 1)) * int(tags.get(TILE_LENGTH, 1)) > MAX_PIXELS:
        raise _too_many_pixels("a tile with too many")


def _too_many_pixels(found: str) -> RequestError:
    return RequestError(413, f"the image has {found} pixels; the maximum is {MAX_PIXELS // 10**6} million: crop it")


def _check_alone(image: Image.Image) -> None:
    """Raise ``RequestError`` for several images in one file. (A camera's JPEG may contain versions of its first.)"""
    several = bool(getattr(image, "is_animated", False)) if image.format == "PNG" else False
    if image.format == "TIFF":
        try:
            image.seek(1)  # is_animated would read the whole chain, which may have millions of entries
            several = True
        except EOFError:
            image.seek(0)
    if several:
        raise RequestError(422, "the file has several images (animation or pages); send a single image")


def _rgb(image: Image.Image, turned: bool, window: GreyWindow | None) -> Upload:
    notes = []
    if turned:
        notes.append("its orientation tag was ignored, as in the data sets: rotate it yourself if needed")
    if is_deep(image) and (window or image.mode != "F"):
        picture, used = _eight_bits(image, window)
        whose = "as in the data set" if window else "because the data set has 8-bit images"
        notes.append(f"its grey values {used.low:g} to {used.high:g} were converted to 8 bits, {whose}")
        return Upload(picture, tuple(notes))
    if image.mode == "P" and "transparency" in image.info:
        notes.append("its transparency was ignored")
    elif image.mode in CONVERTED:
        notes.append(CONVERTED[image.mode])
    elif image.mode not in COLOURS:
        message = f"got channels {', '.join(image.getbands())} (mode {image.mode}), expected grey or RGB"
        raise RequestError(422, message)
    return Upload(as_rgb(image), tuple(notes))


def _eight_bits(image: Image.Image, window: GreyWindow | None) -> tuple[Image.Image, GreyWindow]:
    """Return the result of ``as_rgb`` for grey of more than 8 bits, with little memory, and the window used."""
    from PIL import Image

    width, height = image.size
    out = np.empty((height, width), np.uint8)
    strips = [slice(y, min(y + STRIP, height)) for y in range(0, height, STRIP)]
    values = np.asarray(image)
    if window is None:
        most = max(int(values[s].max()) for s in strips)
        window = GreyWindow(0, 2.0 ** max(8, most.bit_length()) - 1)
    for s in strips:
        out[s] = to_levels(values[s], window)
    return as_rgb(Image.fromarray(out)), window
