"""Staining and imaging of the phantom: the properties that all images of one patient share.

Colour follows Beer and Lambert: I = I₀ · exp(−Σ dye density · dye vector). A laboratory's dye vectors lie between two
published pairs: Ruifrok & Johnston, "Quantification of histochemical staining by color deconvolution", Anal Quant Cytol
Histol 23, 2001; Macenko et al., "A method for normalizing histology slides for quantitative analysis", ISBI 2009.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bench.data.sets.phantom_nuclei import Field

HAEMATOXYLIN = np.array([[0.650, 0.704, 0.286], [0.563, 0.720, 0.406]])  # Ruifrok; Macenko
EOSIN = np.array([[0.072, 0.990, 0.105], [0.216, 0.801, 0.558]])
DAB = np.array([[0.268, 0.570, 0.776], [0.268, 0.570, 0.776]])  # Ruifrok, for either laboratory


@dataclass(frozen=True)
class Look:
    """One patient's slide and microscope: dye vectors [3], their strengths, lamp colour [3], focus and light.

    ``other`` is the dye beside haematoxylin: eosin, or DAB. ``between`` is the position of its dyes between the first
    laboratory (0) and the second (1).
    """

    haematoxylin: npt.NDArray[np.float64]
    other: npt.NDArray[np.float64]
    haematoxylin_strength: float
    other_strength: float
    lamp: npt.NDArray[np.float64]
    blur_px: float  # sd, in pixels of a 96 px image
    light_angle: float
    light_slope: float
    vignette: float
    noise: float
    between: float


def draw_look(rng: np.random.Generator, variation: float, other: npt.NDArray[np.float64] = EOSIN) -> Look:
    """Draw a patient's appearance; ``variation`` scales the variance between patients (0: none, 1: several labs).

    ``other`` [2, 3] are the two laboratories' vectors of the dye beside haematoxylin.
    """
    v = variation
    between = 0.5 + v * rng.uniform(-0.4, 0.4)

    def vector(pair: npt.NDArray[np.float64], sd: float) -> npt.NDArray[np.float64]:
        jittered = np.clip((1 - between) * pair[0] + between * pair[1] + rng.normal(0, sd * v, 3), 0.02, None)
        return np.asarray(jittered / np.linalg.norm(jittered))

    return Look(
        haematoxylin=vector(HAEMATOXYLIN, 0.045),
        other=vector(other, 0.045),
        haematoxylin_strength=float(np.exp(rng.normal(0.2, 0.2 * v))),
        other_strength=float(np.exp(rng.normal(-0.25, 0.25 * v))),
        lamp=np.clip(np.array([0.955, 0.95, 0.96]) + rng.normal(0, 0.025 * v, 3), 0.8, 1.0),
        blur_px=float(rng.uniform(0.3, 0.3 + 0.5 * v)),
        light_angle=float(rng.uniform(0, 2 * np.pi)),
        light_slope=float(abs(rng.normal(0, 0.1 * v))),
        vignette=float(rng.uniform(0, 0.14 * v)),
        noise=float(rng.uniform(0.008, 0.02)),
        between=float(between),
    )


def photograph(haematoxylin: Field, other: Field, look: Look, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Return the picture, uint8 [S, S, 3], of dye densities [S, S]; some properties vary slightly between images."""
    from scipy.ndimage import gaussian_filter

    size = haematoxylin.shape[0]
    strength = np.exp(rng.normal(0, 0.05, 2))
    density = (
        haematoxylin[..., None] * (look.haematoxylin * look.haematoxylin_strength * strength[0])
        + other[..., None] * (look.other * look.other_strength * strength[1])
    ).astype(np.float32)
    light = np.exp(-density)
    sigma = max(0.0, look.blur_px * np.exp(rng.normal(0, 0.15))) * size / 96
    light = gaussian_filter(light, (sigma, sigma, 0))
    across = np.linspace(-1, 1, size, dtype=np.float32)
    x, y = across[None, :], across[:, None]
    angle = look.light_angle + rng.normal(0, 0.2)
    shade = 1 + look.light_slope * (x * np.cos(angle) + y * np.sin(angle)) - look.vignette * (x**2 + y**2) / 2
    picture = light * (look.lamp * np.exp(rng.normal(0, 0.01)) * 1.02).astype(np.float32) * shade[..., None]
    picture += rng.normal(0, look.noise, picture.shape[:2])[..., None]
    return np.asarray(np.rint(np.clip(picture, 0, 1) * 255), dtype=np.uint8)
