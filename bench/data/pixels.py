"""Conversion of image files to 8-bit RGB; the only module that decodes image bytes.

Images of 8 bits per channel are used as they are. Grey images of more bits (12 bits in 16, signed CT values, float) are
scaled by one ``GreyWindow`` for the whole data set, never per image: equal values give equal levels in every image.
``grey_window`` derives the window from the grey values of all images, or the user sets it (``dataset.intensity``).
Labels have no influence on it.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from bench.errors import DataError
from bench.types import GreyWindow

if TYPE_CHECKING:
    from PIL import Image

Intensity = Literal["auto"] | tuple[float, float]
MIN_LEVELS = 32  # grey levels of 256 that the images of a set must keep
GREY_TOLERANCE = 2  # levels by which the channels of a grey image may differ after rounding in JPEG
LOW, HIGH = 0.005, 0.995  # quantiles that limit a window when no number of bits defines its limits
_QUANTILES = (0.0, 0.001, LOW, 0.01, 0.025, 0.05, *(i / 10 for i in range(1, 10)), 0.95, 0.975, 0.99, HIGH, 0.999, 1.0)
_COLOUR_LOSES = "images of 16 bits a colour channel, of which the upper 8 are read"


@dataclass(frozen=True, slots=True)
class GreyValues:
    """The values of one image of more than 8 bits.

    ``kind``: 'integer' or 'float' for grey; 'colour' for RGB of 16 bits per channel, of which only the upper bytes are
    read; the values refer to these. ``quantiles`` are those of ``_QUANTILES``, from the smallest value to the largest;
    ``distinct`` is the number of different values, at most 256.
    """

    kind: Literal["integer", "float", "colour"]
    quantiles: tuple[float, ...]
    distinct: int

    @property
    def window(self) -> GreyWindow:
        """A window of this image alone, for comparing structure independent of exposure."""
        low, high = (self.quantiles[_QUANTILES.index(q)] for q in (LOW, HIGH))
        if not low < high:
            low, high = self.quantiles[0], self.quantiles[-1]
        return GreyWindow(low, high if low < high else low + 1, "this image's percentiles")


def open_image(content: bytes) -> Image.Image:
    """Decode an image file's bytes completely, independent of process-wide Pillow settings. Raises Pillow's errors."""
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # records.MAX_PIXELS limits the size instead
        with Image.open(io.BytesIO(content)) as probe:
            probe.verify()  # verifies check sums, which decoding alone does not read
        image = Image.open(io.BytesIO(content))
        image.load()
    return image


def is_deep(image: Image.Image) -> bool:
    """Whether an image is grey with more than 8 bits, so that it needs a window."""
    return image.mode[0] in "IF"


def is_deep_colour(unread: Image.Image) -> bool:
    """Whether an opened, not yet decoded image has 16 bits per colour channel; Pillow reads the upper 8 of these."""
    raw = (tile[3] for tile in getattr(unread, "tile", ()))
    modes = (str(args[0] if isinstance(args, tuple) and args else args) for args in raw)
    return not is_deep(unread) and any(";16" in mode for mode in modes)


def grey_values(image: Image.Image, deep_colour: bool = False) -> GreyValues | None:
    """Return the values of a decoded image of more than 8 bits; None for any other image.

    Raises ``DataError`` when they are not all finite.
    """
    if not (is_deep(image) or deep_colour):
        return None
    values = np.asarray(image.convert("RGB") if deep_colour else image)
    is_float = image.mode == "F"
    if is_float and not np.isfinite(values).all():
        raise DataError("some of its values are not finite numbers")
    kind: Literal["integer", "float", "colour"] = "colour" if deep_colour else "float" if is_float else "integer"
    found = np.quantile(values, _QUANTILES, method="nearest")
    return GreyValues(kind, tuple(map(float, found)), min(256, len(np.unique(values))))


def as_rgb(image: Image.Image, window: GreyWindow | None = None) -> Image.Image:
    """Return 8-bit RGB; grey is repeated over three channels.

    Grey of more than 8 bits is scaled by the ``window`` of the data set; ``DataError`` without a window.
    """
    if is_deep(image):
        from PIL import Image

        if window is None:
            raise DataError(
                f"the image has more than 8 bits a pixel (mode {image.mode}), and no window of grey values is set; "
                "images of a data set have the window of its index"
            )
        image = Image.fromarray(to_levels(np.asarray(image), window))
    return image.convert("RGB")


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
    scaled = (values.astype(np.float64) - window.low) * (256 / (window.high - window.low + step))
    return np.clip(np.floor(scaled), 0, 255).astype(np.uint8)


def grey_window(found: Sequence[GreyValues], declared: Intensity = "auto") -> GreyWindow | None:
    """Return the window of a data set, given the values of its images of more than 8 bits; None without grey ones.

    'auto': for non-negative whole numbers, the fewest bits that can store the largest value of the set. For sets with
    negative values or float images, the 0.5th to the 99.5th percentile of all their pixels, with equal weight for each
    image. Raises ``DataError`` when so few levels remain that the images would be nearly black or flat.
    """
    grey = [v for v in found if v.kind != "colour"]
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
    has_float = any(v.kind == "float" for v in grey)
    if declared != "auto":
        window = GreyWindow(float(declared[0]), float(declared[1]), "declared by dataset.intensity")
        low, high = least, most
    elif has_float or least < 0:
        window = GreyWindow(low, max(high, low), f"the {LOW:.1%} to {HIGH:.1%} quantiles of the set's pixels")
    else:
        bits = max(8, int(most).bit_length())
        window = GreyWindow(0.0, 2.0**bits - 1, f"{bits} bits, the fewest that hold the set's largest value, {most:g}")
    advice = (
        f"99 % of the pixels lie between {low:g} and {high:g}: declare the values to show, such as "
        f"dataset.intensity=[{low:g},{high:g}], or take other images"
    )
    _require_levels(grey, window, advice, (low, high))
    return window


def window_of_files(paths: Iterable[Path]) -> GreyWindow | None:
    """Return the common window of image files that are not a data set, from all those of more than 8 bits.

    Unreadable files are ignored here; the code that uses them reports them. Raises ``DataError`` as ``grey_window``.
    """
    from PIL import Image

    found = []
    for path in paths:
        try:
            with Image.open(path) as probe:
                colour, deep = is_deep_colour(probe), is_deep(probe)
            values = grey_values(open_image(path.read_bytes()), colour) if colour or deep else None
        except (OSError, SyntaxError, ValueError):
            continue
        except DataError as e:
            raise DataError(f"{path}: {e}") from e
        found += [values] if values else []
    return grey_window(found)


def _require_levels(
    found: Sequence[GreyValues], window: GreyWindow, advice: str, span: tuple[float, float] | None = None
) -> None:
    """Raise ``DataError`` unless the values in ``span`` (None: between the quantiles) keep enough levels."""
    low, high = span or _pooled(found, (LOW, HIGH))
    flat = not window.low < window.high
    whole = all(v.kind != "float" for v in found)
    ends = np.array([low, high], dtype=np.int64 if whole else np.float64)
    spread = 1 if flat else int(np.diff(to_levels(ends, window).astype(int))[0]) + 1
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
