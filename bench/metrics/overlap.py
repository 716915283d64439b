"""Overlap of a predicted with the true mask: Dice, IoU and the 95 % Hausdorff distance, image by image.

Dice 1945, "Measures of the amount of ecologic association between species": 2 |A ∩ B| / (|A| + |B|). Jaccard 1912, "The
distribution of the flora in the alpine zone", as IoU: |A ∩ B| / |A ∪ B|. HD95 after Huttenlocher, Klanderman &
Rucklidge 1993, "Comparing images using the Hausdorff distance": the larger of the two directed distances, each the 95th
percentile (linear between ranks) of the distances from the pixels on one outline to the nearest on the other, as in
Maier-Hein et al. 2024, "Metrics reloaded". The outline consists of the foreground pixels with one of their four
neighbours outside the foreground; the area beyond the image's edge counts as outside. Pixels need not be square: a
squashed image is measured in its original geometry (``spacing``).

Empty masks: if both are empty the prediction is correct: Dice and IoU 1, distance 0. If one is, Dice and IoU are 0, and
the distance, which is undefined, is set to the worst value, the image's diagonal. Excluding such images would reward a
network that finds nothing.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from bench.errors import DataError

PERCENTILE = 95.0
Mask = npt.NDArray[np.bool_]


def dice(true: npt.ArrayLike, found: npt.ArrayLike) -> float:
    """Return 2 |A ∩ B| / (|A| + |B|), in [0, 1], of two masks [H, W]; 1 if both are empty."""
    a, b = _masks(true, found)
    size = int(a.sum()) + int(b.sum())
    return 2 * int((a & b).sum()) / size if size else 1.0


def iou(true: npt.ArrayLike, found: npt.ArrayLike) -> float:
    """Return |A ∩ B| / |A ∪ B|, in [0, 1], of two masks [H, W]; 1 if both are empty."""
    a, b = _masks(true, found)
    union = int((a | b).sum())
    return int((a & b).sum()) / union if union else 1.0


def hausdorff95(true: npt.ArrayLike, found: npt.ArrayLike, spacing: tuple[float, float] = (1.0, 1.0)) -> float:
    """Return the 95 % Hausdorff distance of two masks [H, W], in the unit of ``spacing``.

    ``spacing`` is the vertical and horizontal distance of neighbouring pixels: for masks resized from h × w to H × W
    pixels, (h / H, w / W) gives the distance in pixels of the h × w image. 0 if both masks are empty; the image's
    diagonal, √((H · down)² + (W · across)²), if one is.
    """
    a, b = _masks(true, found)
    down, across = spacing
    if not (0 < down < math.inf and 0 < across < math.inf):
        raise DataError(f"overlap: got a spacing of {down} down and {across} across, expected two positive numbers")
    if not a.any() and not b.any():
        return 0.0
    if not a.any() or not b.any():
        return math.hypot(a.shape[0] * down, a.shape[1] * across)
    from scipy.ndimage import distance_transform_edt

    outlines = [outline(a), outline(b)]
    to = [
        distance_transform_edt(~edge, sampling=spacing) for edge in outlines
    ]  # distance from every pixel to the outline
    directed = [np.percentile(to[1 - i][edge], PERCENTILE) for i, edge in enumerate(outlines)]
    return float(max(directed))


def outline(mask: Mask) -> Mask:
    """Return the foreground pixels of a mask bool [H, W] with one of their four neighbours outside it."""
    padded = np.pad(mask, 1)
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & ~inner


def _masks(true: npt.ArrayLike, found: npt.ArrayLike) -> tuple[Mask, Mask]:
    """Return both as bool [H, W]: every nonzero value is foreground. Raises ``DataError`` for other shapes."""
    a, b = np.asarray(true) != 0, np.asarray(found) != 0
    if a.ndim != 2 or a.shape != b.shape or not a.size:
        raise DataError(f"overlap: got masks of shapes {a.shape} and {b.shape}, expected two of one shape [H, W]")
    return a, b
