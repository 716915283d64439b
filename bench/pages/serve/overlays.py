"""Images for the page: PNGs, masks as a tint, maps as colours whose opacity follows the map."""

from __future__ import annotations

import base64
import io

import numpy as np
import numpy.typing as npt

MASK_COLOUR, MASK_ALPHA = (0, 158, 115), 130
MAP_COLOURS, MAP_ALPHA = "inferno", 200


def png(image: npt.NDArray[np.uint8]) -> str:
    """Return uint8 [H, W, 3] or [H, W, 4] as a PNG in base64."""
    return base64.b64encode(png_bytes(image)).decode("ascii")


def png_bytes(image: npt.NDArray[np.uint8]) -> bytes:
    """Return uint8 [H, W, 3] or [H, W, 4] as a PNG."""
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(image).save(out, "PNG")
    return out.getvalue()


def tint(mask: npt.NDArray[np.uint8]) -> str:
    """Return a mask [H, W] as PNG: semi-transparent colour in the foreground, transparent elsewhere."""
    overlay = np.zeros((*mask.shape, 4), np.uint8)
    overlay[mask > 0] = (*MASK_COLOUR, MASK_ALPHA)
    return png(overlay)


def heat(found: npt.NDArray[np.float32]) -> str:
    """Return a map [H, W] in [0, 1] as a coloured PNG that is transparent where the map is 0."""
    from matplotlib import colormaps

    overlay = colormaps[MAP_COLOURS](found, bytes=True)
    overlay[..., 3] = np.round(found * MAP_ALPHA)
    return png(overlay)
