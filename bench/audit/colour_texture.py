"""Hand-crafted colour and texture features for a small, fast classifier without pretrained weights.

They are computed per image, without fitting: colour moments and histograms in RGB and in stain space (HED; Ruifrok &
Johnston 2001), uniform local binary patterns at two radii (Ojala et al. 2002), and grey-level co-occurrences (Haralick
1973).
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Uint8Image = npt.NDArray[np.uint8]

RGB_BINS, HED_BINS = 16, 8
HED_RANGE = (0.0, 0.1)  # as in scikit-image: 0.05 is a strong stain; larger values are counted in the last bin
LBP = ((8, 1), (16, 2))  # points on a circle, radius in pixels
GLCM_STEPS_PX, GLCM_LEVELS = (1, 3), 32
GLCM_PROPERTIES = ("contrast", "homogeneity", "energy", "correlation")


def colour_texture(images: Iterable[Uint8Image]) -> npt.NDArray[np.float32]:
    """Return features float32 [N, 126] of images uint8 [H, W, 3]; all should have one size, as texture has a scale."""
    return np.stack([_features(image) for image in images]).astype(np.float32)


def _features(image: Uint8Image) -> Floats:
    from skimage.color import rgb2gray, rgb2hed

    hed = rgb2hed(image)
    grey = np.round(rgb2gray(image) * 255).astype(np.uint8)
    colours = [
        *_moments(image / 255.0),
        *_moments(hed),
        *_histograms(image / 255.0, RGB_BINS, (0.0, 1.0)),
        *_histograms(np.clip(hed, *HED_RANGE), HED_BINS, HED_RANGE),
    ]
    return np.concatenate([*colours, *_patterns(grey), _cooccurrences(grey)])


def _moments(x: Floats) -> list[Floats]:
    """Mean, standard deviation and skewness (the signed cube root of the third central moment) of each channel."""
    flat = x.reshape(-1, x.shape[-1])
    gap = flat - flat.mean(axis=0)
    return [flat.mean(axis=0), flat.std(axis=0), np.cbrt((gap * gap * gap).mean(axis=0))]


def _histograms(x: Floats, bins: int, span: tuple[float, float]) -> list[Floats]:
    return [np.histogram(x[..., c], bins, span)[0] / x[..., c].size for c in range(x.shape[-1])]


def _patterns(grey: Uint8Image) -> list[Floats]:
    from skimage.feature import local_binary_pattern

    codes = [local_binary_pattern(grey, points, radius, "uniform") for points, radius in LBP]
    counts = [np.bincount(c.astype(np.int64).ravel(), minlength=p + 2) for c, (p, _) in zip(codes, LBP, strict=True)]
    return [c / grey.size for c in counts]


def _cooccurrences(grey: Uint8Image) -> Floats:
    from skimage.feature import graycomatrix, graycoprops

    angles = (0, np.pi / 4, np.pi / 2, 3 * np.pi / 4)
    levels = grey // (256 // GLCM_LEVELS)
    pairs = graycomatrix(levels, GLCM_STEPS_PX, angles, GLCM_LEVELS, symmetric=True, normed=True)
    return np.concatenate([graycoprops(pairs, name).mean(axis=1) for name in GLCM_PROPERTIES])
