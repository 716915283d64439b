"""Bytes from a stranger -> an RGB picture, or one clear sentence why not; nothing is decoded before it is known small.

What is read is read as a data set's files are (``bench.data.pixels``): orientation tags are ignored, grey of more
than 8 bits has the data set's window, alpha is dropped. So an upload of a training image gives that image's pixels, bit
for bit.
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
OTHERS = (  # what people try, by how it begins
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
TAKEN = "PNG, JPEG, TIFF and BMP are taken"
COLOURS = ("1", "L", "P", "RGB")  # taken as they are
CONVERTED = {
    "LA": "its transparency was ignored",
    "PA": "its transparency was ignored",
    "RGBA": "its transparency was ignored",
    "RGBX": "its fourth channel was ignored",
    "La": "its transparency was ignored",
    "RGBa": "its transparency was ignored",
    "CMYK": "its CMYK inks were converted to RGB without a colour profile",
    "YCbCr": "its YCbCr was converted to RGB",
}
ORIENTATION = 0x0112  # tags of EXIF and TIFF
TILE_WIDTH, TILE_LENGTH = 322, 323
STRIP = 256  # rows at a time, of images of more than 8 bits: to_levels works in 64-bit numbers


@dataclass(frozen=True)
class Upload:
    """A decoded picture, mode RGB, and what was done to it that its sender may not expect."""

    picture: Image.Image
    notes: tuple[str, ...] = ()


def read_upload(content: bytes, window: GreyWindow | None = None) -> Upload:
    """Return the picture in a file's bytes. Raises ``RequestError`` with one sentence for whatever cannot be used.

    At most ``MAX_BYTES`` and ``MAX_PIXELS``, both checked before a pixel is decoded. ``window`` is the data set's;
    where its images have 8 bits, 16-bit grey has the fewest bits that hold its largest value, and a note says so.
    """
    from PIL import Image

    kind = sniff(content)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(content), formats=[kind]) as probe:
                _check_size(probe)
                _check_alone(probe)
                probe.verify()  # check sums, which decoding alone does not read
            picture = Image.open(io.BytesIO(content), formats=[kind])
            picture.load()
            turned = picture.getexif().get(ORIENTATION, 1) != 1
            return _rgb(picture, turned, window)
    except RequestError:
        raise
    except Image.DecompressionBombError:
        raise _too_many_pixels("more") from None
    except Exception:  # decoders raise OSError, SyntaxError, ValueError, KeyError, struct.error, zlib.error, …
        raise RequestError(422, f"this {kind} is damaged or cut short: it cannot be decoded to its end") from None


def sniff(content: bytes) -> Format:
    """Return the format by a file's first bytes, whatever its name says. Raises ``RequestError``."""
    if not content:
        raise RequestError(400, "the upload is empty; choose an image file")
    if len(content) > MAX_BYTES:
        raise RequestError(413, f"the upload is too large; at most {MAX_BYTES >> 20} MB are taken")
    for magic, kind in MAGIC:
        if content.startswith(magic):
            return kind
    found = next((name for magic, name in OTHERS if content.lstrip().startswith(magic)), "no image of a known format")
    raise RequestError(415, f"this is {found}; {TAKEN}")


def fitted(picture: Image.Image, size_px: Size, resize: Resize) -> Uint8Images:
    """Return the picture as data sets' images are brought to size (``bench.data.cache``), uint8 [1, H, W, 3]."""
    from PIL import Image, ImageOps

    size, filter_ = height_width(size_px)[::-1], Image.Resampling.BICUBIC
    made = ImageOps.fit(picture, size, filter_) if resize == "crop" else picture.resize(size, filter_)
    return np.asarray(made, dtype=np.uint8)[None]


def shown_name(name: str) -> str:
    """Return a file's name as it may be shown: without folders and control characters, at most 80 characters.

    For people only: no name that was sent is ever used as a path.
    """
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    return "".join(c for c in last if unicodedata.category(c)[0] != "C").strip()[:80] or "image"


def _check_size(image: Image.Image) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise _too_many_pixels(f"{width} × {height}")
    if min(width, height) < MIN_SIDE_PX:
        message = f"the image has {width} × {height} pixels; at least {MIN_SIDE_PX} a side are needed"
        raise RequestError(422, message)
    tags = getattr(image, "tag_v2", {})  # libtiff decodes a whole tile, however small the image in it
    if image.format == "TIFF" and int(tags.get(TILE_WIDTH, 1)) * int(tags.get(TILE_LENGTH, 1)) > MAX_PIXELS:
        raise _too_many_pixels("more, in a tile of it,")


def _too_many_pixels(found: str) -> RequestError:
    return RequestError(413, f"the image has {found} pixels; at most {MAX_PIXELS // 10**6} million are taken: cut it")


def _check_alone(image: Image.Image) -> None:
    """Raise ``RequestError`` for several pictures in one file. (Those of a camera's JPEG are versions of its first.)"""
    several = bool(getattr(image, "is_animated", False)) if image.format == "PNG" else False
    if image.format == "TIFF":
        try:
            image.seek(1)  # is_animated would walk the whole chain, which may have millions of links
            several = True
        except EOFError:
            image.seek(0)
    if several:
        raise RequestError(422, "the file holds several pictures (animated, or pages); send the one that is meant")


def _rgb(image: Image.Image, turned: bool, window: GreyWindow | None) -> Upload:
    notes = []
    if turned:
        notes.append("its orientation tag was ignored, as in the data sets: turn it upright yourself if need be")
    if is_deep(image) and (window or image.mode != "F"):
        picture, used = _eight_bits(image, window)
        whose = "as in the data set" if window else "for the data set's images have no more"
        notes.append(f"its grey values {used.low:g} to {used.high:g} were brought to 8 bits, {whose}")
        return Upload(picture, tuple(notes))
    if image.mode == "P" and "transparency" in image.info:
        notes.append("its transparency was ignored")
    elif image.mode in CONVERTED:
        notes.append(CONVERTED[image.mode])
    elif image.mode not in COLOURS:
        message = f"the image has the channels {', '.join(image.getbands())} (mode {image.mode}); send grey or RGB"
        raise RequestError(422, message)
    return Upload(as_rgb(image), tuple(notes))


def _eight_bits(image: Image.Image, window: GreyWindow | None) -> tuple[Image.Image, GreyWindow]:
    """Return what ``as_rgb`` makes of grey of more than 8 bits, in little memory, and the window that was used."""
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
