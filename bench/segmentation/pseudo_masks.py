"""Nuclei without an annotator: where haematoxylin, the stain that nuclei take up, is dense.

Ruifrok & Johnston 2001, "Quantification of histochemical staining by color deconvolution" (scikit-image's ``rgb2hed``);
threshold: Otsu 1979, image by image, since slides differ in how strongly they are stained. Good enough to train a
network that shall tell whether translations keep their nuclei; no ground truth, and never called so.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bench.types import Uint8Images

SPECK = 1 / 2000  # of an image's area; smaller parts are dropped as noise


def haematoxylin_masks(images: Uint8Images) -> npt.NDArray[np.uint8]:
    """Return masks uint8 [N, H, W] of images uint8 [N, H, W, 3]: 1 where haematoxylin is dense, else 0.

    An image of one colour gives an empty mask.
    """
    if not len(images):
        return np.zeros(images.shape[:3], np.uint8)
    return np.stack([_mask(image) for image in images]).astype(np.uint8)


def _mask(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    from scipy.ndimage import label
    from skimage.color import rgb2hed
    from skimage.filters import threshold_otsu

    haematoxylin = rgb2hed(image)[..., 0]
    dense = haematoxylin > threshold_otsu(haematoxylin)
    parts, _ = label(dense)
    sizes = np.bincount(parts.ravel())
    return dense & (sizes[parts] >= max(2, SPECK * dense.size))
