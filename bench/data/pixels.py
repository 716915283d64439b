"""Conversion of decoded images to 8-bit RGB: one policy for training, audit and page (``PixelPolicy``).

Images of 8 bits per channel are used as they are. Grey images of more bits (12 bits in 16, signed CT values, float) are
scaled by one ``GreyWindow`` for the whole data set: equal values give equal levels in every image. ``grey_window``
derives it from the grey values of all images, or the user sets it (``dataset.intensity``). Labels have no influence on
it. Exceptions, which are counted and reported, are DICOM files with a window, and images that the window of the set
would leave nearly black or flat, such as one float image among images of 12 bits (``window_for``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from bench.data.dicom import WINDOW
from bench.data.image_files import UnusableImage, header_of, open_image
from bench.errors import DataError
from bench.types import DEFAULT_POLICY, GreyWindow, PixelPolicy

if TYPE_CHECKING:
    from PIL import Image

Intensity = Literal["auto"] | tuple[float, float]
MIN_LEVELS = 32  # grey levels of 256 that the images of a set must keep
FILE = "the window in the file"
GREY_TOLERANCE = 2  # levels by which the channels of a grey image may differ after rounding in JPEG
LOW, HIGH = 0.005, 0.995  # quantiles that limit a window when no number of bits defines its limits
_QUANTILES = (0.0, 0.001, LOW, 0.01, 0.025, 0.05, *(i / 10 for i in range(1, 10)), 0.95, 0.975, 0.99, HIGH, 0.999, 1.0)
_STRIP = 256  # rows converted at once
_COLOUR_LOSES = "images of 16 bits a colour channel, of which the upper 8 are read"


@dataclass(frozen=True, slots=True)
class GreyValues:
    """The values of one image of more than 8 bits.

    ``kind``: 'integer' or 'float' for grey; 'colour' for RGB of 16 bits per channel, of which only the upper bytes are
    read; the values refer to these. ``quantiles`` are those of ``_QUANTILES``, from the smallest value to the largest;
    ``distinct`` is the number of different values, at most 256; ``own`` the window in the file (DICOM).
    """

    kind: Literal["integer", "float", "colour"]
    quantiles: tuple[float, ...]
    distinct: int
    own: tuple[float, float] | None = None

    @property
    def whole(self) -> bool:
        """Whether the values are whole numbers."""
        return self.kind != "float"

    @property
    def window(self) -> GreyWindow:
        """A window of this image alone, for comparing structure independent of exposure."""
        low, high = (self.quantiles[_QUANTILES.index(q)] for q in (LOW, HIGH))
        if not low < high:
            low, high = self.quantiles[0], self.quantiles[-1]
        return GreyWindow(low, high if low < high else low + 1, "this image's percentiles")


def is_deep(image: Image.Image) -> bool:
    """Whether an image is grey with more than 8 bits, so that it needs a window."""
    return image.mode[0] in "IF"


def is_transparent(image: Image.Image) -> bool:
    """Whether some pixel of a decoded image is not opaque."""
    return _has_alpha(image) and int(np.asarray(image.convert("RGBA").getchannel("A")).min()) < 255


def _has_alpha(image: Image.Image) -> bool:
    has_key = "transparency" in image.info and image.mode in ("1", "L", "P", "RGB")
    return has_key or image.mode in ("LA", "La", "PA", "RGBA", "RGBa")


def grey_values(image: Image.Image, deep_colour: bool = False) -> GreyValues | None:
    """Return the values of a decoded image of more than 8 bits; None for any other image.

    Raises ``UnusableImage`` when they are not all finite.
    """
    if not (is_deep(image) or deep_colour):
        return None
    values = np.asarray(image.convert("RGB") if deep_colour else image)
    is_float = image.mode == "F"
    if is_float and not np.isfinite(values).all():
        raise UnusableImage("not_finite", "some of its values are not finite numbers")
    kind: Literal["integer", "float", "colour"] = "colour" if deep_colour else "float" if is_float else "integer"
    found = np.quantile(values, _QUANTILES, method="nearest")
    own = image.info.get(WINDOW) if not deep_colour else None
    return GreyValues(kind, tuple(map(float, found)), min(256, len(np.unique(values))), own)


def as_rgb(image: Image.Image, policy: PixelPolicy = DEFAULT_POLICY) -> Image.Image:
    """Return 8-bit RGB; grey is repeated over three channels.

    Grey of more than 8 bits is scaled by ``window_for``. Transparent pixels are composited on white, or their stored
    colours are used (``policy.alpha``). CMYK is converted without a colour profile.
    """
    if values := grey_values(image):
        from PIL import Image

        image = Image.fromarray(to_levels(np.asarray(image), window_for(values, policy.window)))
    elif _has_alpha(image):
        image = image.convert("RGBA")
        if policy.alpha == "white":
            from PIL import Image

            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def window_for(values: GreyValues, window: GreyWindow | None) -> GreyWindow:
    """Return the window of one image of more than 8 bits, given that of its data set.

    In order of priority: one that the user declared for the set; that of the file (DICOM), unless it leaves one level;
    that of the set; and, where that would leave the image nearly black, flat or mostly white, or there is none, the
    image's own: its number of bits, or its percentiles if these leave few levels too.
    """
    if window and window.declared:
        return window
    if values.own and _kept(values.whole, values.quantiles[0], values.quantiles[-1], GreyWindow(*values.own)) > 1:
        return GreyWindow(*values.own, FILE)
    low, high = (values.quantiles[_QUANTILES.index(q)] for q in (LOW, HIGH))
    needed = min(MIN_LEVELS, values.distinct)
    median = values.quantiles[_QUANTILES.index(0.5)]
    if window and median <= window.high and _kept(values.whole, low, high, window) >= needed:
        return window
    by_bits = _bits_window(values.quantiles[-1], "image's") if values.whole and values.quantiles[0] >= 0 else None
    if by_bits and _kept(True, low, high, by_bits) >= needed:
        return by_bits
    return values.window


def is_grey(rgb: Image.Image) -> bool:
    """Whether no pixel's channels differ by more than ``GREY_TOLERANCE`` levels."""
    few = np.asarray(rgb.resize((8, 8)), dtype=np.int16)
    if np.ptp(few, axis=2).max() > GREY_TOLERANCE:
        return False
    return bool(np.ptp(np.asarray(rgb), axis=2).max() <= GREY_TOLERANCE)


def to_levels(values: npt.NDArray[np.generic], window: GreyWindow) -> npt.NDArray[np.uint8]:
    """Return the levels 0 to 255 of grey values, uint8 of the same shape; values outside the window become 0 or 255.

    Whole numbers from 0 to 2^b - 1 keep their upper 8 of b bits.
    """
    step = 0 if np.issubdtype(values.dtype, np.floating) else 1  # a whole number covers the interval up to the next one
    out = np.empty(values.shape, np.uint8)
    for start in range(0, len(values), _STRIP):  # in strips, because 64-bit numbers need much memory
        strip = slice(start, start + _STRIP)
        scaled = (values[strip].astype(np.float64) - window.low) * (256 / (window.high - window.low + step))
        out[strip] = np.clip(np.floor(scaled), 0, 255)
    return out


def _kept(whole: bool, low: float, high: float, window: GreyWindow) -> int:
    """Return how many levels remain between two grey values."""
    if not window.low < window.high:
        return 1
    first, last = to_levels(np.array([low, high], dtype=np.int64 if whole else np.float64), window)
    return int(last) - int(first) + 1


def _bits_window(most: float, whose: str) -> GreyWindow:
    bits = max(8, int(most).bit_length())
    return GreyWindow(0.0, 2.0**bits - 1, f"{bits} bits, the fewest that hold the {whose} largest value, {most:g}")


def grey_window(
    found: Sequence[GreyValues], declared: Intensity = "auto", images: int | None = None
) -> GreyWindow | None:
    """Return the window of a data set, given the values of its images of more than 8 bits; None without grey ones.

    'auto': for non-negative whole numbers, the fewest bits that can store the largest value of the set. For negative
    values, float images, and where the bits would leave few levels, the 0.5th to the 99.5th percentile of all their
    pixels, with equal weight for each image. In a set of both, the more frequent of whole numbers and floats have the
    window, and the others their own (``window_for``), as have files with a window. ``images``: the number of images in
    the set, if not all have more than 8 bits. Raises ``DataError`` when so few levels remain that most images of the
    set would be nearly black or flat.
    """
    grey = [v for v in found if v.kind != "colour" and (declared != "auto" or not v.own)]
    if declared == "auto":
        kinds = {"integer": [v for v in grey if v.whole], "float": [v for v in grey if not v.whole]}
        grey = max(kinds.values(), key=len)
    colour = [v for v in found if v.kind == "colour"]
    if colour:
        _require_levels(colour, GreyWindow(0, 255, _COLOUR_LOSES), "convert them to 8 bits a channel")
    if not grey:
        if declared != "auto":
            raise DataError(
                f"intensity is {list(declared)}, but no image is grey of more than 8 bits, and those of 8 bits are "
                "used as they are; set dataset.intensity=auto"
            )
        return None
    least, most = _pooled(grey, (0.0, 1.0))
    low, high = _pooled(grey, (LOW, HIGH))
    has_float = not all(v.whole for v in grey)
    if declared != "auto":
        window = GreyWindow(float(declared[0]), float(declared[1]), "declared by dataset.intensity", declared=True)
        low, high = least, most
    elif has_float or least < 0:
        window = GreyWindow(low, max(high, low), f"the {LOW:.1%} to {HIGH:.1%} quantiles of the set's pixels")
    else:
        window = _bits_window(most, "set's")
        if _kept(True, low, high, window) < MIN_LEVELS <= _kept(True, low, high, GreyWindow(low, high)):
            window = GreyWindow(low, high, f"the {LOW:.1%} to {HIGH:.1%} quantiles of the set's pixels")
    advice = (
        f"99 % of the pixels lie between {low:g} and {high:g}: declare the values to show, such as "
        f"dataset.intensity=[{low:g},{high:g}], or take other images"
    )
    if declared != "auto" or 2 * len(grey) >= (images or 0):
        _require_levels(grey, window, advice, (low, high))
    return window


def window_of_files(paths: Iterable[Path]) -> GreyWindow | None:
    """Return the common window of image files that are not a data set, from all those of more than 8 bits.

    Unreadable files are ignored here; the code that uses them reports them. Raises ``DataError`` as ``grey_window``.
    """
    found = []
    for path in paths:
        try:
            content = path.read_bytes()
            values = grey_values(open_image(content), header_of(content).deep_colour)
        except UnusableImage as e:
            raise DataError(f"{path}: {e}") from e
        except (OSError, SyntaxError, ValueError):
            continue
        found += [values] if values else []
    return grey_window(found)


def _require_levels(
    found: Sequence[GreyValues], window: GreyWindow, advice: str, span: tuple[float, float] | None = None
) -> None:
    """Raise ``DataError`` unless the values in ``span`` (None: between the quantiles) keep enough levels."""
    low, high = span or _pooled(found, (LOW, HIGH))
    whole = all(v.whole for v in found)
    spread = _kept(whole, low, high, window)
    levels = min(spread, max(v.distinct for v in found), *([int(high - low) + 1] if whole else []))
    if levels < MIN_LEVELS:
        what = _COLOUR_LOSES if found[0].kind == "colour" else "images of more than 8 bits a pixel"
        raise DataError(
            f"{len(found)} {what}, would keep {levels} grey levels of 256 when {window.low:g} to {window.high:g} "
            f"({window.how}) become 0 to 255; at least {MIN_LEVELS} are needed. {advice}"
        )


def _pooled(found: Sequence[GreyValues], probabilities: Sequence[float]) -> tuple[float, ...]:
    """Return quantiles of the pixels of all images, each image with equal weight, from the images' quantiles."""
    cuts = np.array(_QUANTILES)
    mass = np.diff(
        np.concatenate([[0.0], (cuts[1:] + cuts[:-1]) / 2, [1.0]])
    )  # number of pixels nearest to each quantile
    values = np.array([v.quantiles for v in found], dtype=np.float64)
    order = np.argsort(values, axis=None, kind="stable")
    reached = np.cumsum(np.broadcast_to(mass, values.shape).ravel()[order]) / len(found)
    rows = np.minimum(np.searchsorted(reached, np.array(probabilities) - 1e-9), values.size - 1)
    ranked = values.ravel()[order]
    return tuple(float(ranked[-1] if p >= 1 else ranked[row]) for p, row in zip(probabilities, rows, strict=True))
