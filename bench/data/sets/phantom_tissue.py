"""Tissue of the phantom: stroma, glands with lumina, solid nests and their cells, as maps of the two dyes.

It models the difference between the classes, not pathology: one number, ``atypia`` in [0, 1], controls architecture
(glands → solid disordered nests) and cytology (nuclei larger, more varied, more irregular, coarser chromatin).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from bench.data.sets.phantom_nuclei import Field, Nuclei, Values, at, draw, jittered_grid, join

DESIGN_PX = 96  # lengths below are in pixels of an image of this side; other sizes show the same field of view


@dataclass(frozen=True)
class Biology:
    """One patient's tissue, relative to the average patient; these values vary between patients of a class."""

    nuclear_size: float
    crowding: float
    darkness: float
    gland_size: float
    epithelium: float
    fibre_length: float
    looseness: float
    inflammation: float


@dataclass(frozen=True)
class Dyes:
    """Optical density of each dye before colour, [S, S] each, and the nuclei's instance mask, uint16 [S, S]."""

    haematoxylin: Field
    eosin: Field
    mask: npt.NDArray[np.uint16]


@dataclass
class _Scene:
    """State shared by the drawing steps of one image."""

    size_px: int
    unit: float  # pixels of this image per design pixel
    rng: np.random.Generator
    atypia: float
    biology: Biology
    x: Field
    y: Field


def grow(biology: Biology, atypia: float, size_px: int, rng: np.random.Generator) -> Dyes:
    """Return one field of view of a patient's tissue."""
    y, x = np.mgrid[:size_px, :size_px].astype(np.float32)
    scene = _Scene(size_px, size_px / DESIGN_PX, rng, float(np.clip(atypia, 0, 1)), biology, x, y)
    fibres, direction = _fibres(scene)
    glands, lumen, gland_nuclei = _glands(scene)
    nests, nest_nuclei = _nests(scene, glands, lumen)
    epithelium = np.maximum(glands, nests)
    gaps = _gaps(scene, fibres, epithelium)
    void = np.maximum(lumen, gaps)
    stromal = _stromal_nuclei(scene, epithelium, void, direction)
    lymphocytes = _lymphocytes(scene, epithelium, void)
    cover, dye, mask = draw(join([stromal, lymphocytes, nest_nuclei, gland_nuclei]), size_px, rng)

    mottle = noise(scene, 1.2) * 0.12 + noise(scene, 4) * 0.1
    stroma_eosin = 0.66 + 0.2 * fibres + 0.1 * noise(scene, 13) + 0.05 * noise(scene, 0.7)
    cell_eosin = 0.42 + mottle
    eosin = (stroma_eosin * (1 - epithelium) + cell_eosin * epithelium) * (1 - void)
    secretion = rng.uniform(0, 0.25) * (0.6 + 0.4 * noise(scene, 4)) * lumen * (rng.random() < 0.5)
    haze = (0.06 + 0.03 * fibres) * (1 - epithelium) + (0.2 + 0.08 * scene.atypia + mottle) * epithelium
    haematoxylin = haze * (1 - void) * (1 - cover) + dye * cover
    eosin = np.clip(eosin, 0.0, None) * (1 - 0.55 * cover) + np.clip(secretion, 0, None) + _red_cells(scene, void)
    return Dyes(np.clip(haematoxylin, 0, None), np.clip(eosin, 0, None), mask)


def noise(scene: _Scene, scale: float) -> Field:
    """Return smooth noise of mean 0 and sd 1 whose grain is ``scale`` design pixels."""
    field = _window(_noise_plane(scene.size_px, scale, scale), scene)
    return np.asarray((field - field.mean()) / (field.std() + 1e-6), dtype=np.float32)


@lru_cache(maxsize=32)
def _noise_plane(size_px: int, along: float, across: float) -> Field:
    """Return a wide plane of tileable noise; images take windows of it, because filtering each anew is slow."""
    from scipy.ndimage import gaussian_filter

    side = 4 * size_px
    unit = size_px / DESIGN_PX
    rng = np.random.default_rng([size_px, int(100 * along), int(100 * across)])
    plane = gaussian_filter(
        rng.standard_normal((side, side), dtype=np.float32), (across * unit, along * unit), mode="wrap"
    )
    return np.asarray(plane / plane.std(), dtype=np.float32)


def _window(plane: Field, scene: _Scene) -> Field:
    top, left = scene.rng.integers(0, 3 * scene.size_px, 2)
    window = plane[top : top + scene.size_px, left : left + scene.size_px]
    turned = np.rot90(window, int(scene.rng.integers(4)))
    return turned.T if scene.rng.random() < 0.5 else turned


def _fibres(scene: _Scene) -> tuple[Field, Field]:
    """Return collagen, sd about 1, and its direction in radians: long-grained noise, sampled along wavy lines."""
    from scipy.ndimage import map_coordinates

    rng, unit = scene.rng, scene.unit
    angle = rng.uniform(0, np.pi)
    along = scene.x * np.cos(angle) + scene.y * np.sin(angle)
    across = scene.y * np.cos(angle) - scene.x * np.sin(angle)
    across = across + unit * (rng.uniform(3, 9) * noise(scene, 13) + rng.uniform(0.4, 1.5) * noise(scene, 4.5))
    fibres = np.zeros_like(across)
    for weight, width in ((0.75, 0.45), (0.65, 1.2)):
        plane = _noise_plane(scene.size_px, 9 * width, width)
        at_y, at_x = across + rng.uniform(0, 1e3), along / scene.biology.fibre_length + rng.uniform(0, 1e3)
        fibres += weight * map_coordinates(plane, [at_y, at_x], order=1, mode="grid-wrap")
    d_y, d_x = np.gradient(across)
    return np.asarray(np.clip(fibres, -2, 2), np.float32), np.arctan2(-d_x, d_y)


def _glands(scene: _Scene) -> tuple[Field, Field, Nuclei]:
    """Return ducts as rings of cells: epithelium and lumen coverage, and their nuclei."""
    rng, unit, a = scene.rng, scene.unit, scene.atypia
    epithelium, lumen = np.zeros_like(scene.x), np.zeros_like(scene.x)
    sets = [_no_nuclei()]
    placed: list[tuple[float, float, float]] = []
    wanted = rng.poisson(0.3 + 3.4 * (1 - a) ** 1.3 * scene.biology.epithelium)
    for _ in range(min(6, int(wanted))):
        radius = unit * scene.biology.gland_size * rng.uniform(10, 21) * (1 - 0.25 * a)
        centre = rng.uniform(-0.05, 1.05, 2) * scene.size_px
        if any(np.hypot(centre[0] - px, centre[1] - py) < 0.95 * (radius + pr) for px, py, pr in placed):
            continue
        placed.append((centre[0], centre[1], radius))
        thick = unit * scene.biology.nuclear_size * rng.uniform(6.5, 8.5) * (1 + 0.7 * a)
        outline = _Outline(rng, wobble=rng.uniform(0.04, 0.12) + 0.14 * a)
        dx, dy = scene.x - centre[0], scene.y - centre[1]
        edge = radius * outline(np.arctan2(dy, dx)) - np.hypot(dx, dy)  # pixels inside the outer edge
        inside = _step(edge, 1.0)
        hollow = _step(edge - thick, 1.2)
        epithelium = np.maximum(epithelium, inside)
        lumen = np.maximum(lumen, hollow)
        sets += _ring_nuclei(scene, centre, radius, thick, outline)
    return epithelium, lumen, join(sets)


class _Outline:
    """A closed wobbly outline: relative radius at an angle."""

    def __init__(self, rng: np.random.Generator, wobble: float) -> None:
        order = np.arange(2, 6)[:, None]
        size = wobble * rng.normal(0, 1, (4, 1)) / np.sqrt(order)
        angles = np.linspace(0, 2 * np.pi, 720, endpoint=False)
        waves = (size * np.cos(order * angles + rng.uniform(0, 2 * np.pi, (4, 1)))).sum(axis=0)
        self.table = np.clip(1 + waves, 0.4, 1.7)

    def __call__(self, angle: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
        return self.table[(angle * (360 / np.pi)).astype(int) % 720]


def _ring_nuclei(
    scene: _Scene, centre: npt.NDArray[np.float64], radius: float, thick: float, outline: _Outline
) -> list[Nuclei]:
    """Return luminal cells in rows, less ordered with more atypia, and the flat myoepithelial cells outside them."""
    rng, unit, a = scene.rng, scene.unit, scene.atypia
    rows = 1 + int(rng.random() < 0.25 + 0.7 * a) + int(rng.random() < 0.7 * a)
    sets = []
    for row in range(rows):
        depth = thick * (0.36 + 0.5 * row / max(1, rows - 0.4))
        spacing = unit * scene.biology.nuclear_size * 4.5 / scene.biology.crowding**0.5
        n = max(4, int(2 * np.pi * (radius - depth) / spacing))
        angle = 2 * np.pi * (np.arange(n) + rng.normal(0, 0.1 + 0.2 * a, n)) / n
        r = radius * outline(angle) - depth + rng.normal(0, unit * (0.35 + 1.0 * a), n)
        turn = angle + rng.normal(0, 0.15 + 0.8 * a, n)
        sets.append(_epithelial(scene, centre[0] + r * np.cos(angle), centre[1] + r * np.sin(angle), turn, 1.35))
    n = int(2 * np.pi * radius / (unit * 6.5) * (1 - 0.8 * a))
    around = rng.uniform(0, 2 * np.pi, n)
    border = radius * outline(around) + 0.2 * unit
    x, y = centre[0] + border * np.cos(around), centre[1] + border * np.sin(around)
    sets.append(_looks(scene, x, y, around + np.pi / 2, long=2.7, short=1.05, spread=0.15, dark=1.0))
    return sets


def _nests(scene: _Scene, glands: Field, lumen: Field) -> tuple[Field, Nuclei]:
    """Return solid epithelium: a few compact lobules for low atypia, wide invading sheets for high atypia."""
    rng, unit, a = scene.rng, scene.unit, scene.atypia
    share = np.clip((0.06 + 0.62 * a) * scene.biology.epithelium * rng.uniform(0.6, 1.4), 0, 0.85)
    field = noise(scene, rng.choice((6, 9, 13))) + (0.15 + 0.45 * a) * noise(scene, 3)
    level = np.quantile(field, 1 - share)
    nests = _step((field - level) * 7 * unit, 1.5 * unit) * (1 - glands)
    punched = _step((noise(scene, 3) - rng.uniform(1.6, 2.6)) * 4 * unit, unit) * nests  # cribriform holes
    np.maximum(lumen, punched, out=lumen)
    spacing = unit * scene.biology.nuclear_size * (6.0 - 0.3 * a) / scene.biology.crowding**0.5
    x, y = jittered_grid(scene.size_px, spacing, 0.1 + 0.17 * a, rng)
    keep = (at(nests, x, y) > 0.55) & (at(lumen, x, y) < 0.4) & (rng.random(x.shape) < 0.96 - 0.1 * a)
    x, y = x[keep], y[keep]
    return nests, _epithelial(scene, x, y, rng.uniform(0, np.pi, x.shape), 1.12)


def _epithelial(scene: _Scene, x: Values, y: Values, angle: Values, oblong: float) -> Nuclei:
    return _looks(scene, x, y, angle, long=2.05 * oblong, short=2.05 / oblong, spread=0.09, dark=0.92, epithelial=True)


def _looks(
    scene: _Scene,
    x: Values,
    y: Values,
    angle: Values,
    *,
    long: float,
    short: float,
    spread: float,
    dark: float,
    epithelial: bool = False,
) -> Nuclei:
    """Give nuclei their size, shape and chromatin. Only epithelial ones show the image's atypia."""
    rng, n = scene.rng, len(x)
    a = scene.atypia if epithelial else 0.0
    scale = scene.unit * scene.biology.nuclear_size * (1 + 0.34 * a) * np.exp(rng.normal(0, spread + 0.2 * a, n))
    oblong = np.exp(rng.normal(0, 0.07 + 0.16 * a, n))
    return Nuclei(
        x=x,
        y=y,
        long=np.clip(scale * long * oblong, 0.7, 8 * scene.unit),
        short=np.clip(scale * short / oblong, 0.6, 7 * scene.unit),
        angle=angle,
        dark=np.clip(dark * scene.biology.darkness * np.exp(rng.normal(0.06 * a, 0.13 + 0.14 * a, n)), 0.3, 2.2),
        clumps=np.clip(rng.normal(0.32 + 0.45 * a, 0.1, n), 0, 1),
        bumps=np.abs(rng.normal(0, 0.03 + 0.09 * a, n)),
        nucleolus=np.where(rng.random(n) < 0.1 + 0.5 * a, rng.uniform(0.2, 0.5, n), 0.0),
    )


def _gaps(scene: _Scene, fibres: Field, epithelium: Field) -> Field:
    """Return clefts between fibres and round fat cells, [S, S] in 0..1, outside the epithelium."""
    rng, unit = scene.rng, scene.unit
    loose = scene.biology.looseness
    clefts = _step((-fibres + 0.7 * noise(scene, 9) - 2.35 + 0.6 * loose) * 2.2, 1.0)
    tears = _step((noise(scene, 9) - 2.3 + 0.35 * loose) * 7 * unit, unit)
    fat = np.zeros_like(clefts)
    if rng.random() < 0.16 * loose:
        x, y = jittered_grid(scene.size_px, 19 * unit, 0.12, rng)
        where = noise(scene, 13)
        keep = at(where, x, y) > 0.5
        for cx, cy in zip(x[keep], y[keep], strict=True):
            fat = np.maximum(fat, _step(rng.uniform(7.5, 9.5) * unit - np.hypot(scene.x - cx, scene.y - cy), 1.0))
    return np.maximum(np.maximum(0.85 * clefts, tears), 0.97 * fat) * (1 - epithelium)


def _stromal_nuclei(scene: _Scene, epithelium: Field, void: Field, direction: Field) -> Nuclei:
    """Return fibroblasts: thin, dark, lying along the fibres."""
    rng, unit = scene.rng, scene.unit
    x, y = jittered_grid(scene.size_px, 9.5 * unit, 0.3, rng)
    keep = (at(epithelium, x, y) < 0.2) & (at(void, x, y) < 0.5) & (rng.random(x.shape) < rng.uniform(0.3, 0.75))
    x, y = x[keep], y[keep]
    angle = at(direction, x, y) + rng.normal(0, 0.2, x.shape)
    return _looks(scene, x, y, angle, long=3.3, short=0.95, spread=0.25, dark=0.95)


def _lymphocytes(scene: _Scene, epithelium: Field, void: Field) -> Nuclei:
    """Return small round dark cells, scattered or in a cluster."""
    rng, unit = scene.rng, scene.unit
    n = rng.poisson(5 * scene.biology.inflammation) + (rng.random() < 0.2) * rng.integers(10, 35)
    centre, width = rng.uniform(0, scene.size_px, 2), rng.uniform(8, 25) * unit
    x, y = rng.normal(centre[0], width, n), rng.normal(centre[1], width, n)
    keep = (at(epithelium, x, y) < 0.3) & (at(void, x, y) < 0.5)
    x, y = x[keep], y[keep]
    return _looks(scene, x, y, rng.uniform(0, np.pi, x.shape), long=1.6, short=1.5, spread=0.08, dark=1.35)


def _red_cells(scene: _Scene, void: Field) -> Field:
    """Return a little blood, as eosin, in some of the empty places."""
    rng, unit = scene.rng, scene.unit
    if rng.random() > 0.2:
        return np.zeros_like(void)
    cells = _step((noise(scene, 1.2) - 0.4) * 1.6, 1.0)
    return np.asarray(1.1 * cells * _step((noise(scene, 9) - 0.9) * 6 * unit, unit) * void, np.float32)


def _no_nuclei() -> Nuclei:
    return Nuclei(*(np.zeros(0) for _ in range(9)))


def _step(distance: npt.NDArray[np.floating], width: float) -> Field:
    """Return a soft step, 0 → 1 where ``distance`` passes from −width to +width pixels."""
    return np.asarray(np.clip(distance / (2 * max(width, 0.5)) + 0.5, 0, 1), dtype=np.float32)
