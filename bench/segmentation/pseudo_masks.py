"""Pseudo masks of nuclei without annotation: regions with dense haematoxylin, the stain of nuclei, or DAB in its place.

Ruifrok & Johnston 2001, "Quantification of histochemical staining by color deconvolution" (as in scikit-image);
threshold: Otsu 1979, image by image, because slides differ in staining intensity. Sufficient to train a network that
checks whether translations keep their nuclei; not ground truth, and never reported as such.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bench.types import Uint8Images

BROWN = 0.2 / 6  # optical density, base 10 (the unit of scikit-image is a sixth of it): less DAB is background
SPECK = 1 / 2000  # of an image's area; smaller components are removed as noise


def nuclear_masks(images: Uint8Images, dab: bool = False) -> npt.NDArray[np.uint8]:
    """Return masks uint8 [N, H, W] of images uint8 [N, H, W, 3]: 1 where nuclear dye is dense, else 0.

    With ``dab``, a nucleus may have either dye. An image of one colour gives an empty mask.
    """
    if not len(images):
        return np.zeros(images.shape[:3], np.uint8)
    return np.stack([_mask(image, dab) for image in images]).astype(np.uint8)


def _mask(image: npt.NDArray[np.uint8], dab: bool) -> npt.NDArray[np.bool_]:
    from scipy.ndimage import label
    from skimage.color import hdx_from_rgb, hed_from_rgb, separate_stains
    from skimage.filters import threshold_otsu

    dyes = separate_stains(image, hdx_from_rgb if dab else hed_from_rgb)
    dense = dyes[..., 0] > threshold_otsu(dyes[..., 0])
    if dab:
        dense |= dyes[..., 1] > max(threshold_otsu(dyes[..., 1]), BROWN)
    parts, _ = label(dense)
    sizes = np.bincount(parts.ravel())
    return dense & (sizes[parts] >= max(2, SPECK * dense.size))
