"""Nuclei of the phantom: drawn as soft, irregular ellipses with a membrane, chromatin and a nucleolus."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

Field = npt.NDArray[np.floating]  # [S, S], float32
Values = npt.NDArray[np.floating]  # [N]


@dataclass(frozen=True)
class Nuclei:
    """N nuclei: centres and semi-axes in pixels, angle of the long axis in radians, then appearance, each [N].

    ``dark`` is the haematoxylin taken up; ``clumps`` the contrast of the chromatin; ``bumps`` the irregularity of the
    outline; ``nucleolus`` its darkness.
    """

    x: Values
    y: Values
    long: Values
    short: Values
    angle: Values
    dark: Values
    clumps: Values
    bumps: Values
    nucleolus: Values

    def __len__(self) -> int:
        return len(self.x)

    def where(self, keep: npt.NDArray[np.bool_]) -> Nuclei:
        """Return the selected nuclei."""
        return Nuclei(*(getattr(self, f.name)[keep] for f in fields(self)))


def join(sets: list[Nuclei]) -> Nuclei:
    """Return all nuclei of several sets, in order."""
    return Nuclei(*(np.concatenate([getattr(s, f.name) for s in sets]) for f in fields(Nuclei)))


def jittered_grid(size_px: int, spacing: float, disorder: float, rng: np.random.Generator) -> tuple[Values, Values]:
    """Return x and y of a hexagonal grid over the image and a margin, each point displaced randomly."""
    n = int(np.ceil((size_px + 4 * spacing) / spacing))
    rows = int(np.ceil(n / 0.866))
    column, row = np.meshgrid(np.arange(n), np.arange(rows))
    shift = rng.uniform(-1, 0, 2) * spacing
    x = (column + 0.5 * (row % 2)).ravel() * spacing + shift[0] - spacing
    y = row.ravel() * 0.866 * spacing + shift[1] - spacing
    x = x + rng.normal(0, disorder * spacing, x.shape)
    y = y + rng.normal(0, disorder * spacing, y.shape)
    return x, y


def at(field: npt.NDArray[np.floating], x: Values, y: Values) -> Values:
    """Return a field's values at the nearest pixels (points outside take the value at the edge)."""
    top = field.shape[0] - 1
    return np.asarray(field[np.clip(np.rint(y), 0, top).astype(int), np.clip(np.rint(x), 0, top).astype(int)], float)


def draw(nuclei: Nuclei, size_px: int, rng: np.random.Generator) -> tuple[Field, Field, npt.NDArray[np.uint16]]:
    """Return coverage [S, S] in 0..1, haematoxylin [S, S], and the instance mask uint16 [S, S], 0 for background.

    Later nuclei cover earlier ones.
    """
    from scipy.ndimage import gaussian_filter

    reach = 1.3 * nuclei.long + 1.5  # half a patch, in pixels
    seen = (np.abs(nuclei.x - size_px / 2) < size_px / 2 + reach) & (
        np.abs(nuclei.y - size_px / 2) < size_px / 2 + reach
    )
    nuclei, reach = nuclei.where(seen), np.ceil(reach[seen]).astype(int)
    margin = 2 * int(reach.max(initial=1)) + 1
    side = size_px + 2 * margin
    cover = np.zeros((side, side), dtype=np.float32)
    dye = np.zeros_like(cover)
    instances = np.zeros(cover.shape, dtype=np.uint16)
    chromatin = gaussian_filter(rng.standard_normal(cover.shape, dtype=np.float32), 0.9 * size_px / 96)
    chromatin *= 0.38 / (chromatin.std() + 1e-6)
    phase = rng.uniform(0, 2 * np.pi, len(nuclei))
    patches: dict[int, tuple[Field, Field, Field]] = {}
    for pad in np.unique(
        reach
    ):  # nuclei of similar size are drawn together: one patch size for all would be mostly empty
        chosen = np.flatnonzero(reach == pad)
        drawn = zip(*_patches(nuclei.where(reach == pad), phase[chosen], int(pad)), strict=True)
        patches.update(zip(chosen.tolist(), drawn, strict=True))
    left = np.floor(nuclei.x).astype(int) + margin - reach
    top = np.floor(nuclei.y).astype(int) + margin - reach
    for i in range(len(nuclei)):
        soft, stain, clumps = patches[i]
        window = np.s_[top[i] : top[i] + len(soft), left[i] : left[i] + len(soft)]
        dye[window] += soft * (np.clip(stain + clumps * chromatin[window], 0.2, 2.4) - dye[window])
        np.maximum(cover[window], soft, out=cover[window])
        instances[window][soft > 0.5] = i + 1
    inner = np.s_[margin : margin + size_px, margin : margin + size_px]
    return cover[inner], dye[inner], instances[inner]


def _patches(nuclei: Nuclei, phase: Values, pad: int) -> tuple[Field, Field, Field]:
    """Return each nucleus on a separate patch, [N, 2·pad+1, 2·pad+1]: coverage, haematoxylin, chromatin weight."""

    def column(values: Values) -> Field:
        return np.asarray(values, dtype=np.float32)[:, None, None]

    step = np.arange(-pad, pad + 1, dtype=np.float32)
    dx = step[None, None, :] - column(nuclei.x - np.floor(nuclei.x))
    dy = step[None, :, None] - column(nuclei.y - np.floor(nuclei.y))
    cos, sin = column(np.cos(nuclei.angle)), column(np.sin(nuclei.angle))
    along = (dx * cos + dy * sin) / column(nuclei.long)
    across = (dy * cos - dx * sin) / column(nuclei.short)
    radius = np.sqrt(along**2 + across**2) + 1e-6
    # cos 2φ and cos 3φ as polynomials of the direction's cosine and sine, which avoids an arc tangent
    c, s = along / radius, across / radius
    c2, s2 = c * c - s * s, 2 * c * s
    two = c2 * column(np.cos(phase)) + s2 * column(np.sin(phase))
    three = (c * c2 - s * s2) * column(np.cos(2 * phase)) + (s * c2 + c * s2) * column(np.sin(2 * phase))
    radius = radius / (1 + column(nuclei.bumps) * (0.6 * two + three))
    edge = column(np.sqrt(nuclei.long * nuclei.short))  # pixels per unit of radius
    soft = np.clip((1 - radius) * edge + 0.5, 0, 1)
    rim = np.exp(-np.square((radius - 0.86) / 0.2))
    off_x, off_y = column(0.2 * np.cos(phase)), column(0.2 * np.sin(phase))
    spot = np.exp(-(np.square(along - off_x) + np.square(across - off_y)) / 0.09)
    clumps, dark = column(nuclei.clumps), column(nuclei.dark)
    look = 1 - 0.35 * clumps + 0.55 * clumps * rim + column(nuclei.nucleolus) * spot
    return soft, dark * look, dark * clumps * np.ones_like(soft)
