"""The pixel check of a candidate pair: align the second picture with the first, then correlate their detail.

**Alignment.** Both pictures are grey, 64 × 64. At half the size, each of 4 × 4 blocks of the first is searched for in
the second within ± 2 pixels. A shift and a scale per axis are fitted to the 16 displacements (least squares, weighted
by the cosines and again by the residuals, so that text or callipers in some blocks do not matter). The second picture
is resampled accordingly, and the fit is repeated once at full size within ± 1 pixel.

**Correlation.** Detail is a band (Gaussians of 1 and 3 pixels) over its local contrast, so that exposure, colour and
compression have little effect. ``correlation`` is the cosine over the common area. ``lowest``: the third lowest of the
16 blocks' best cosines within ± 1 pixel, without blocks that are flat in both: a surround or outline that a whole set
shares is not enough. Pictures with fewer than 6 textured blocks match nothing.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Thumbnails = npt.NDArray[np.uint8]  # [N, 64, 64], grey

SIDE = 64  # pixels
BLOCKS = 4  # a side
MIN_TEXTURED_BLOCKS = 6
_FLAT = 0.2  # root mean square of a block's normalised detail
_NOISE = 2.0  # grey levels: contrast below it counts as none
_MOST_SCALE = 1.2  # copies that are cropped by more are not found


def smooth(pictures: Floats, sigma: float) -> Floats:
    """Return pictures [N, H, W] smoothed by a Gaussian, float32."""
    from scipy.ndimage import gaussian_filter

    found: Floats = gaussian_filter(pictures, (0, sigma, sigma), truncate=3.0, output=np.float32)
    return found


def resample(
    pictures: Floats, down: npt.ArrayLike, height: npt.ArrayLike, right: npt.ArrayLike, width: npt.ArrayLike
) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Return a window of each picture [N, S, S] in the full size, by linear interpolation, and where it is inside.

    ``down`` and ``right`` [N]: pixels from the picture's centre to the window's; ``height`` and ``width`` [N]: size of
    the window over that of the picture.
    """
    rows, in_rows = _sampling(pictures.shape[1], down, height)
    columns, in_columns = _sampling(pictures.shape[2], right, width)
    windows = (rows @ pictures @ columns.transpose(0, 2, 1)).astype(np.float32, copy=False)
    return windows, in_rows[:, :, None] & in_columns[:, None, :]


def check(first: Thumbnails, second: Thumbnails) -> tuple[Floats, Floats]:
    """Return ``correlation`` and ``lowest`` (see the module) of pairs of pictures [P, 64, 64], float32 [P] each."""
    a, b = first.astype(np.float32), second.astype(np.float32)
    coarse_a, coarse_b = (_detail(_halved(p), 0.7, 3.0) for p in (a, b))
    down, height, right, width = _fit(*_search(coarse_a, coarse_b, 2), SIDE // 2)
    down, right = 2 * down, 2 * right
    fine = _detail(a, 1.0, 3.0)
    for step in range(2):
        limits = 1 / _MOST_SCALE, _MOST_SCALE
        height, width = np.clip(height, *limits), np.clip(width, *limits)
        aligned, inside = resample(b, down, height, right, width)
        there = _detail(aligned, 1.0, 3.0) * inside
        here = fine * inside
        cosines, textured = _search(here, there, 1)
        if step == 0:
            more_down, more_height, more_right, more_width = _fit(cosines, textured, SIDE)
            down, right = down + height * more_down, right + width * more_right
            height, width = height * more_height, width * more_width
    norms = np.einsum("pyx,pyx->p", here, here) * np.einsum("pyx,pyx->p", there, there)
    correlation = np.einsum("pyx,pyx->p", here, there) / np.sqrt(norms + 1e-6)
    n = textured.sum(axis=1)
    ordered = np.sort(np.where(textured, cosines.max(axis=(2, 3)), 2.0), axis=1)
    lowest = ordered[np.arange(len(n)), n // 8]
    enough = n >= MIN_TEXTURED_BLOCKS
    return np.where(enough, correlation, 0).astype(np.float32), np.where(enough, lowest, 0).astype(np.float32)


def _halved(pictures: Floats) -> Floats:
    n, side, _ = pictures.shape
    return pictures.reshape(n, side // 2, 2, side // 2, 2).mean(axis=(2, 4))


def _detail(pictures: Floats, fine: float, coarse: float) -> Floats:
    high = smooth(pictures, fine) - smooth(pictures, coarse)
    return high / np.sqrt(smooth(high * high, coarse) + _NOISE**2)


def _sampling(side: int, offset: npt.ArrayLike, scale: npt.ArrayLike) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Return the interpolation matrix of each picture [N, S, S], and which of its rows lie inside [N, S]."""
    middle = (side - 1) / 2
    at = middle + np.asarray(offset)[:, None] + (np.arange(side) - middle) * np.asarray(scale)[:, None]
    inside = (at >= -0.5) & (at <= side - 0.5)
    at = np.clip(at, 0, side - 1)
    low = np.minimum(at.astype(np.int64), side - 2)
    share = (at - low).astype(np.float32)
    matrix = np.zeros((*at.shape, side), dtype=np.float32)
    picture, row = np.indices(at.shape)
    matrix[picture, row, low] = 1 - share
    matrix[picture, row, low + 1] = share
    return matrix, inside


def _block_sums(values: Floats) -> Floats:
    n, side, _ = values.shape
    step = side // BLOCKS
    sums: Floats = values.reshape(n, BLOCKS, step, BLOCKS, step).sum(axis=(2, 4)).reshape(n, BLOCKS**2)
    return sums


def _search(here: Floats, there: Floats, reach: int) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Return each block's cosines at all displacements [P, 16, 2 reach + 1, 2 reach + 1], and where it is textured."""
    side, places = here.shape[1], 2 * reach + 1
    padded = np.pad(there, ((0, 0), (reach, reach), (reach, reach)))
    squares = padded * padded
    own = np.sqrt(_block_sums(here * here))
    cosines = np.empty((len(here), BLOCKS**2, places, places), dtype=np.float32)
    for y in range(places):
        for x in range(places):
            window = np.s_[:, y : y + side, x : x + side]
            other = np.sqrt(_block_sums(squares[window]))
            cosines[:, :, y, x] = _block_sums(here * padded[window]) / np.maximum(own * other, 1e-6)
    flat = _FLAT * side / BLOCKS
    return cosines, (own >= flat) | (np.sqrt(_block_sums(there * there)) >= flat)


def _fit(cosines: Floats, textured: npt.NDArray[np.bool_], side: int) -> tuple[Floats, Floats, Floats, Floats]:
    """Fit a shift (pixels) and a scale to the blocks' displacements: down, height, right, width, as in ``resample``."""
    moved, best = _displacements(cosines)
    step = side / BLOCKS
    centre = (np.arange(BLOCKS) * step + step / 2 - side / 2).astype(np.float32)
    at = np.repeat(centre, BLOCKS)[None], np.tile(centre, BLOCKS)[None]
    trust = np.maximum(best, 0) ** 2 * textured
    weight = trust
    for spread in (1.0, 1.0, 0.5, 0.5):
        fitted = [_line(x, y, weight, side) for x, y in zip(at, moved, strict=True)]
        off = sum((y - a[:, None] - b[:, None] * x) ** 2 for (a, b), x, y in zip(fitted, at, moved, strict=True))
        weight = trust / (1 + off / spread)
    (down, height), (right, width) = fitted
    return down, 1 + height, right, 1 + width


def _displacements(cosines: Floats) -> tuple[tuple[Floats, Floats], Floats]:
    """Return where each block's cosine is highest (down, right; a fraction of a pixel by a parabola), and its value."""
    pairs, blocks, places, _ = cosines.shape
    flat = cosines.reshape(pairs, blocks, -1)
    y, x = np.divmod(flat.argmax(axis=2), places)
    best = flat.max(axis=2)
    p, b = np.indices(y.shape)

    def between(low: Floats, high: Floats, place: npt.NDArray[np.int64]) -> Floats:
        bend = 2 * best - low - high
        part = np.where(bend > 1e-6, 0.5 * (high - low) / np.maximum(bend, 1e-6), 0)
        inner = (place > 0) & (place < places - 1)
        return (place - places // 2 + np.where(inner, part.clip(-0.5, 0.5), 0)).astype(np.float32)

    before, after = (lambda v: np.maximum(v - 1, 0)), (lambda v: np.minimum(v + 1, places - 1))
    down = between(cosines[p, b, before(y), x], cosines[p, b, after(y), x], y)
    right = between(cosines[p, b, y, before(x)], cosines[p, b, y, after(x)], x)
    return (down, right), best


def _line(x: Floats, y: Floats, weight: Floats, side: int) -> tuple[Floats, Floats]:
    """Return the intercept and slope [P] of the weighted least squares line; without weights, the slope tends to 0."""
    total = weight.sum(axis=1) + 1e-6
    middle_x, middle_y = (weight * x).sum(axis=1) / total, (weight * y).sum(axis=1) / total
    spread = (weight * (x - middle_x[:, None]) ** 2).sum(axis=1) + 1e-5 * total * side**2
    slope = (weight * (x - middle_x[:, None]) * (y - middle_y[:, None])).sum(axis=1) / spread
    return middle_y - slope * middle_x, slope
