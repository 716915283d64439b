"""DICOM files to images, by pydicom, an optional dependency: rescaling, MONOCHROME1, window centre and width.

After the DICOM standard, PS3.3: rescale slope and intercept (C.11.1.1), photometric interpretation (C.7.6.3.1.2),
window centre and width (C.11.2.1.2). Lookup tables of the modality and of the display are not applied.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bench.errors import DataError

if TYPE_CHECKING:
    from PIL import Image

WINDOW = (0x0028, 0x1050)  # key in the ``info`` of an image; not text, so that no text in a file can be taken for it
DEFLATED = b"1.2.840.10008.1.2.1.99"  # transfer syntax in which the whole file is compressed


class UnusableImage(DataError):
    """A file that cannot be used as an image; ``kind`` is that of ``DataProblem``."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind


def is_dicom(content: bytes) -> bool:
    """Whether a file's bytes are DICOM, with the usual preamble or beginning with its meta information."""
    return content[128:132] == b"DICM" or content.startswith(b"\x02\x00\x00\x00UL\x04\x00")


def size_of(content: bytes) -> tuple[int, int, int]:
    """Return width and height in px and the number of frames. Raises ``UnusableImage``, or pydicom's errors."""
    ds = _read(content, stop_before_pixels=True)
    if "Rows" not in ds or "Columns" not in ds:
        raise UnusableImage("not_an_image", "a DICOM file without pixels")
    return int(ds.Columns), int(ds.Rows), _frames(ds)


def open_dicom(content: bytes, page: int = 1) -> Image.Image:
    """Decode one frame, counted from 1: mode RGB; L for 8 bits without a window; else I or F.

    ``info[WINDOW]`` is the file's window, if any: (lowest, highest) value shown. MONOCHROME1 is inverted, so that
    larger values are brighter. Raises ``UnusableImage``, or pydicom's errors.
    """
    from PIL import Image

    ds = _read(content)
    if page > _frames(ds):
        raise UnusableImage("no_page", f"it has no frame {page}; dataset.page selects the frame")
    values = _pixels(ds, page - 1)
    if values.ndim == 3:
        return Image.fromarray(np.ascontiguousarray(values), "RGB")
    slope, intercept = (float(ds.get(k, default) or default) for k, default in _RESCALE)
    bits, signed = int(ds.BitsStored), int(ds.get("PixelRepresentation", 0)) == 1
    ends = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    window = _window(ds)
    rescaled = (slope, intercept) != (1.0, 0.0)
    if rescaled:
        whole = slope.is_integer() and intercept.is_integer()
        values = (values.astype(np.float64) * slope + intercept).astype(np.int32 if whole else np.float32)
    if ds.PhotometricInterpretation == "MONOCHROME1":
        total = sum(end * slope + intercept for end in ends)
        values = (total - values.astype(np.float64)).astype(values.dtype if rescaled else np.int32)
        window = (total - window[1], total - window[0]) if window else None
    if bits <= 8 and not signed and not rescaled and window in (None, (0.0, 255.0)):
        return Image.fromarray(values.astype(np.uint8))
    image = Image.fromarray(values if values.dtype == np.float32 else values.astype(np.int32))
    if window:
        image.info[WINDOW] = window
    return image


_RESCALE = (("RescaleSlope", 1.0), ("RescaleIntercept", 0.0))


def _read(content: bytes, stop_before_pixels: bool = False) -> Any:
    try:
        from pydicom import dcmread
    except ImportError:
        detail = "DICOM files need the package pydicom: pip install 'augbench[dicom]'"
        raise UnusableImage("needs_pydicom", detail) from None
    return dcmread(io.BytesIO(content), stop_before_pixels=stop_before_pixels, force=True)  # also without a preamble


def _frames(ds: Any) -> int:
    return int(ds.get("NumberOfFrames", 1) or 1)


def _pixels(ds: Any, frame: int) -> npt.NDArray[Any]:
    """Return one frame: stored grey values [H, W], or uint8 [H, W, 3]."""
    from pydicom.pixels import apply_color_lut, pixel_array

    syntax = ds.file_meta.TransferSyntaxUID
    try:
        values: npt.NDArray[Any] = pixel_array(ds, index=frame)
    except (RuntimeError, NotImplementedError) as e:  # no decoder is installed for this transfer syntax
        raise UnusableImage("unsupported", f"DICOM with {syntax.name} cannot be decoded: {e}") from None
    if ds.PhotometricInterpretation == "PALETTE COLOR":
        values = apply_color_lut(values, ds)
    if values.ndim == 3 and values.dtype != np.uint8:
        top = 16 if ds.PhotometricInterpretation == "PALETTE COLOR" else int(ds.BitsStored)
        values = (values >> max(0, top - 8)).astype(np.uint8)
    return values[..., :3] if values.ndim == 3 else values


def _window(ds: Any) -> tuple[float, float] | None:
    """Return the first window of the file as (lowest, highest) value shown, as in C.11.2.1.2.1; None without one."""
    centre, width = (_first(ds.get(k)) for k in ("WindowCenter", "WindowWidth"))
    if centre is None or width is None or not width > 1:
        return None
    if str(ds.get("VOILUTFunction", "") or "LINEAR") == "LINEAR_EXACT":
        return centre - width / 2, centre + width / 2
    return centre - 0.5 - (width - 1) / 2, centre - 0.5 + (width - 1) / 2


def _first(value: Any) -> float | None:
    from pydicom.multival import MultiValue

    one = value[0] if isinstance(value, MultiValue) and len(value) else value
    return float(one) if one not in (None, "") else None
