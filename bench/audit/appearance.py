"""Appearance of one image (format, brightness, stain, sharpness), and which groups are outliers.

Stain: mean optical density (base 10) of each dye by colour deconvolution, Ruifrok & Johnston, "Quantification of
histochemical staining by color deconvolution", 2001, as in scikit-image's ``separate_stains``. Sharpness: variance of
the Laplacian of the grey image, Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy", 2000. Outliers:
the modified z-score of Iglewicz & Hoaglin, "How to detect and handle outliers", 1993, beyond 3.5.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bench.audit.text import SEARCHED_SIDE_PX, find_marks
from bench.data.image_files import header_of, open_image
from bench.data.listing import Stain
from bench.data.pixels import as_rgb
from bench.data.reading_progress import counted
from bench.store.disk import write_cache
from bench.types import DEFAULT_POLICY, PixelPolicy

FAR = 3.5  # modified z-score
DYES: dict[Stain, tuple[str, ...]] = {  # the measures of each stain
    "": (),
    "H&E": ("haematoxylin_od", "eosin_od"),
    "H-DAB": ("haematoxylin_od", "dab_od"),
}
MIN_GROUPS = 5  # with fewer groups the spread is not meaningful
_GREY_SPREAD = 4  # difference between channels that compression may cause in a grey image stored as RGB
_VERSION = 3  # increase it when the same image would be measured differently: cached values are then not reused


@dataclass(frozen=True, slots=True)
class Appearance:
    """Measurements of one file.

    Format and mode are Pillow's names; ``lowest`` to ``highest`` grey level, 0 to 255; ``brightness`` and ``contrast``:
    mean and standard deviation of the grey levels; ``sharpness``: variance of the Laplacian, levels²; optical densities
    (stained colour images only, else None); ``marks``: see ``audit.text``.
    """

    format: str
    mode: str
    width: int
    height: int
    frames: int
    exif_orientation: int
    lowest: int
    highest: int
    is_grey: bool
    brightness: float
    contrast: float
    sharpness: float
    haematoxylin_od: float | None
    eosin_od: float | None
    dab_od: float | None
    marks: str


def measure(content: bytes, stain: Stain = "H&E", policy: PixelPolicy = DEFAULT_POLICY) -> Appearance:
    """Decode and measure an image that ``examine.decode`` found usable; dyes only if the data set has them.

    ``policy`` is the data set's; levels are those after scaling.
    """
    from PIL import Image
    from scipy.ndimage import laplace

    header, image = header_of(content), open_image(content, policy.page)
    rgb = as_rgb(image, policy)
    pixels, grey = np.asarray(rgb), np.asarray(rgb.convert("L"))
    rgb.thumbnail((SEARCHED_SIDE_PX, SEARCHED_SIDE_PX), Image.Resampling.BOX)
    small = np.asarray(rgb)
    is_grey = _is_grey(pixels)
    dyes = {} if is_grey else _densities(small, stain)
    return Appearance(
        format=header.format,
        mode=image.mode,
        width=image.width,
        height=image.height,
        frames=header.pages,
        exif_orientation=header.orientation,
        lowest=int(grey.min()),
        highest=int(grey.max()),
        is_grey=is_grey,
        brightness=round(float(grey.mean()), 3),
        contrast=round(float(grey.std()), 3),
        sharpness=round(float(laplace(grey.astype(np.float32)).var()), 3),
        haematoxylin_od=dyes.get("haematoxylin_od"),
        eosin_od=dyes.get("eosin_od"),
        dab_od=dyes.get("dab_od"),
        marks=find_marks(small[..., 1]) if is_grey else "",
    )


def _is_grey(rgb: npt.NDArray[np.uint8]) -> bool:
    red, green, blue = (rgb[..., i].astype(np.int16) for i in range(3))
    return bool(max(np.abs(red - green).max(), np.abs(green - blue).max()) <= _GREY_SPREAD)


def _densities(rgb: npt.NDArray[np.uint8], stain: Stain) -> dict[str, float]:
    if not stain:
        return {}
    from skimage.color import hdx_from_rgb, hed_from_rgb, separate_stains

    apart = separate_stains(rgb, hdx_from_rgb if stain == "H-DAB" else hed_from_rgb)
    means = apart.mean(axis=(0, 1)) * 6  # skimage counts in units of log10(1e6)
    return {name: round(float(od), 4) for name, od in zip(DYES[stain], means, strict=False)}


def measure_all(
    root: Path, sha256_of: Mapping[str, str], stain: Stain, memory: Path, policy: PixelPolicy = DEFAULT_POLICY
) -> dict[str, Appearance]:
    """Return the appearance of every file by its path; measurements of known contents are cached in ``memory``."""
    known = _load(memory)
    todo = {sha: path for path, sha in sha256_of.items() if sha not in known}
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        measured = pool.map(lambda p: measure((root / p).read_bytes(), stain, policy), todo.values())
        found = dict(zip(todo, counted("measuring images", measured, len(todo)), strict=True))
    if found:
        known |= found
        images = {sha: asdict(a) for sha, a in known.items()}
        write_cache(memory, json.dumps({"version": _VERSION, "images": images}))
    return {path: known[sha] for path, sha in sha256_of.items()}


def _load(memory: Path) -> dict[str, Appearance]:
    try:
        stored = json.loads(memory.read_text(encoding="utf-8"))
        return {k: Appearance(**v) for k, v in stored["images"].items()} if stored["version"] == _VERSION else {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}  # missing or damaged: everything is measured again


def modified_z(values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return 0.6745 (x − median) / MAD of values [N]; zeros if more than half of the values are equal (MAD 0)."""
    x = np.asarray(values, dtype=np.float64)
    away = x - np.median(x)
    spread = float(np.median(np.abs(away)))
    return 0.6745 * away / spread if spread > 0 else np.zeros_like(x)


def group_means(
    appearances: Mapping[str, Appearance], group_of: Mapping[str, str], measures: Sequence[str]
) -> dict[str, dict[str, float]]:
    """Return each group's mean of each measure over its images with a value; missing if no image has one."""
    values: dict[str, dict[str, list[float]]] = {}
    for path, appearance in sorted(appearances.items()):
        for name in measures:
            value = getattr(appearance, name)
            if value is not None:
                values.setdefault(group_of[path], {}).setdefault(name, []).append(float(value))
    return {g: {n: float(np.mean(v)) for n, v in sorted(m.items())} for g, m in sorted(values.items())}


def outliers(means: Mapping[str, Mapping[str, float]], measures: Iterable[str]) -> list[dict[str, str | float]]:
    """Return the groups whose mean lies beyond 3.5 modified z-scores, largest first.

    Sharpness is compared on a logarithmic scale, because it spans decades.
    """
    found: list[dict[str, str | float]] = []
    for name in measures:
        groups = [g for g, m in means.items() if name in m]
        if len(groups) < MIN_GROUPS:
            continue
        values = np.array([means[g][name] for g in groups])
        scores = modified_z(np.log10(np.maximum(values, 1e-3)) if name == "sharpness" else values)
        for group, value, z in zip(groups, values, scores, strict=True):
            if abs(z) > FAR:
                found.append({"group": group, "measure": name, "mean": round(float(value), 4), "z": round(float(z), 2)})
    return sorted(found, key=lambda o: (-abs(float(o["z"])), str(o["measure"]), str(o["group"])))
