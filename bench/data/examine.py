"""Whether a file can be used as an image, and what it looks like: the checks that come before any training."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from bench.data.image_files import UnusableImage, header_of, open_image
from bench.data.near_duplicates import Thumbnail, look_at
from bench.data.pixels import GreyValues, as_rgb, grey_values, is_grey, is_transparent
from bench.data.suspected_masks import has_two_colours
from bench.types import DEFAULT_POLICY, PixelPolicy

if TYPE_CHECKING:
    from PIL import Image

MIN_SIDE_PX = 16
MAX_PIXELS = 100_000_000  # a decompression bomb, or a whole slide that should be tiled first
READABLE = (
    "1", "L", "P", "RGB", "I", "I;16", "I;16L", "I;16B", "F", "LA", "PA", "La", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr",
    "HSV",
)  # fmt: skip
CONVERSIONS = {  # what was done to an image, and the sentence for a number of such images
    "alpha": "transparent in part: composited on white (dataset.alpha=drop ignores the transparency)",
    "dropped_alpha": "transparent in part, which is ignored (dataset.alpha)",
    "colour_space": "in CMYK or another colour space: converted to RGB without a colour profile",
    "orientation": "rotated or mirrored as the orientation tag says",
    "pages": "of several pages or frames, of which one is read (dataset.page)",
    "file_window": "shown with the window of the file (DICOM)",
    "own_window": "scaled by the image's own number of bits or percentiles: of more than 8 bits, and nearly "
    "black or flat in the window of the set",
}


class Decoded(NamedTuple):
    """Result of decoding: ``kind`` is empty for a usable image (see ``DataProblem``); texture and thumbnail as from
    ``look_at``; ``values`` of an image of more than 8 bits; whether it has at most two colours, and no colour at all;
    keys of ``CONVERSIONS``.
    """

    kind: str = ""
    detail: str = ""
    textured: bool = False
    thumbnail: Thumbnail | None = None
    values: GreyValues | None = None
    two_colours: bool = False
    grey: bool = False
    converted: tuple[str, ...] = ()


def decode(content: bytes, policy: PixelPolicy = DEFAULT_POLICY) -> Decoded:
    """Decode an image file's bytes, check that it can be used, and measure its appearance."""
    from PIL import Image, UnidentifiedImageError

    try:
        header = header_of(content)
        if header.width * header.height > MAX_PIXELS:
            size = f"{header.width}×{header.height}"
            return Decoded("too_large", f"{size} pixels; at most {MAX_PIXELS:,} are read: tile it first")
        if min(header.width, header.height) < MIN_SIDE_PX:
            size = f"{header.width}×{header.height}"
            return Decoded("too_small", f"{size} pixels; at least {MIN_SIDE_PX} per side are needed")
        image = open_image(content, policy.page)
        if image.mode not in READABLE:
            channels = ", ".join(image.getbands())
            raise UnusableImage("channels", f"{len(image.getbands())} channels ({channels}); grey or RGB is needed")
        values = grey_values(image, header.deep_colour)
    except UnusableImage as e:
        return Decoded(e.kind, str(e))
    except UnidentifiedImageError:
        return Decoded("not_an_image", f"{len(content):,} bytes that match no image format")
    except Image.DecompressionBombError as e:
        return Decoded("too_large", str(e))
    except Exception as e:  # decoders raise OSError, SyntaxError, ValueError, struct.error, zlib.error, …
        return Decoded("truncated", f"cannot be decoded completely: {e}")
    found = {
        ("alpha" if policy.alpha == "white" else "dropped_alpha"): is_transparent(image),
        "colour_space": image.mode in ("CMYK", "YCbCr", "HSV"),
        "orientation": header.orientation != 1,
        "pages": header.pages > 1,
    }
    converted = tuple(kind for kind, is_so in found.items() if is_so)
    seen = as_seen(image, values, policy)
    two_colours = has_two_colours(image, values)
    return Decoded("", "", *look_at(seen), values, two_colours, is_grey(seen), converted)


def as_seen(image: Image.Image, values: GreyValues | None, policy: PixelPolicy) -> Image.Image:
    """Return the picture for near-copy detection: 8-bit RGB; an image of more bits is scaled by its own window."""
    return as_rgb(image, PixelPolicy(values.window if values else None, policy.alpha, policy.page))
