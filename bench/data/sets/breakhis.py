"""BreakHis: H&E breast histology at four magnifications, in its official folder layout.

Spanhol, Oliveira, Petitjean, Heutte: "A Dataset for Breast Cancer Histopathological Image Classification",
IEEE Transactions on Biomedical Engineering 63(7), 2016. CC BY 4.0. File names read
``SOB_<B|M>_<subtype>-<year>-<slide id>-<magnification>-<sequence>.png``.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

from bench.data.listing import ImageChecks, Listed, Listing
from bench.data.records import index_listing
from bench.data.sets.finding import find_layout
from bench.data.walk import Walk
from bench.errors import ConfigError, DataError
from bench.types import DataProblem, DatasetIndex

HOMEPAGE = "https://web.inf.ufpr.br/vri/databases/breast-cancer-histopathological-database-breakhis/"
CLASSES = ("benign", "malignant")
MAGNIFICATIONS = (40, 100, 200, 400)
SUBTYPES = {
    "A": "adenosis",
    "F": "fibroadenoma",
    "PT": "phyllodes_tumor",
    "TA": "tubular_adenoma",
    "DC": "ductal_carcinoma",
    "LC": "lobular_carcinoma",
    "MC": "mucinous_carcinoma",
    "PC": "papillary_carcinoma",
}
LAYOUT = """\
  BreaKHis_v1/
    histology_slides/breast/
      benign/SOB/<subtype>/<slide>/<40X|100X|200X|400X>/SOB_B_A-14-22549AB-100-001.png
      malignant/SOB/<subtype>/<slide>/<40X|100X|200X|400X>/SOB_M_DC-14-12312-100-001.png"""
EXPECTED_NAME = (
    "<benign|malignant>/SOB/<subtype>/<slide>/<magnification>X/"
    "SOB_<B|M>_<subtype>-<year>-<slide id>-<magnification>-<sequence>.png"
)
WHERE = f"""\
Expected layout (any subset of magnifications will do):
{LAYOUT}
What to do: download BreakHis (4 GB, free) from {HOMEPAGE}
or with `bench data download breakhis`, unpack it anywhere, and name that folder with `--data DIR` or the variable
BENCH_DATA, e.g. `--data data/BreaKHis_v1`."""
_PATH = re.compile(
    r"(?P<class>benign|malignant)/SOB/(?P<folder>[a-z_]+)/[^/]+/(?P<x>\d+)X/"
    r"SOB_(?P<letter>[BM])_(?P<subtype>[A-Z]+)-(?P<year>\d+)-(?P<slide>(?P<number>\d+)[A-Z]*)"
    r"-(?P<magnification>\d+)-(?P<sequence>\d+)\.(png|PNG)"
)


@dataclass(frozen=True)
class BreakHisConfig(ImageChecks):
    """``magnification``: 40, 100, 200, 400, several of them, or None for all that are present.

    ``group_by='patient'`` uses the number in the slide id alone (``22549AB`` and ``22549CD`` are one group), because no
    publication says that they are two patients. ``'slide'`` uses the whole id.
    """

    magnification: int | tuple[int, ...] | None = None
    group_by: Literal["patient", "slide"] = "patient"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.group_by not in ("patient", "slide"):
            raise ConfigError(f"breakhis: group_by is {self.group_by!r}; valid: patient, slide")
        foreign = [m for m in self.magnifications or () if m not in MAGNIFICATIONS]
        if foreign or self.magnifications == ():
            raise ConfigError(f"breakhis: magnification is {self.magnification!r}; valid: 40, 100, 200, 400")

    @property
    def magnifications(self) -> tuple[int, ...] | None:
        """The chosen magnifications, or None for all."""
        if self.magnification is None:
            return None
        return (self.magnification,) if isinstance(self.magnification, int) else tuple(self.magnification)


class BreakHis:
    """Benign against malignant, grouped by patient. Attributes: magnification, slide, subtype."""

    Config = BreakHisConfig
    licence: ClassVar[str] = "CC BY 4.0"
    modality: ClassVar[str] = "histology"
    haematoxylin: ClassVar[bool] = True

    def __init__(self, config: Any) -> None:
        self.config: BreakHisConfig = config

    def index(self, root: Path | None, cache: Path) -> DatasetIndex:
        """List the images. ``root`` is BreaKHis_v1, a folder that contains it, or a folder inside it.

        Record paths start below ``breast/``, so they are the same for each of these. Raises ``DataError``.
        """
        wanted = self.config.magnifications
        listing = self.listing(root)
        files = listing.files
        if wanted is not None:
            files = tuple(f for f in files if int(dict(f.attributes)["magnification"]) in wanted)
        if not files:
            present = Counter(int(dict(f.attributes)["magnification"]) for f in listing.files)
            has = ", ".join(f"{m}X ({n})" for m, n in sorted(present.items()))
            raise DataError(f"no images of magnification {wanted} under {listing.root}; it has {has}.\n{WHERE}")
        where = f"Requested: magnification {wanted or 'any'}.\n{WHERE}"
        return index_listing("breakhis", replace(listing, files=files), self.config, cache, where)

    def listing(self, root: Path | None) -> Listing:
        """Return the images of every magnification, without reading them. Raises ``DataError`` if there are none."""
        folder = find_breast_folder(root)
        files: list[Listed] = []
        foreign: list[DataProblem] = []
        walk = Walk(folder)
        for path in walk.pictures():  # a file that does not match is reported, not ignored
            match = _PATH.fullmatch(path)
            problem = _contradiction(match) if match else f"expected {EXPECTED_NAME}"
            if match is None or problem:
                foreign.append(DataProblem(path, "foreign_name", problem))
            else:
                files.append(self._listed(path, match))
        if not files:
            named = f"; {len(foreign)} foreign ones, such as {foreign[0].path}" if foreign else ""
            raise DataError(f"no BreakHis images under {folder}{named}.\n{WHERE}")
        groups = "patients" if self.config.group_by == "patient" else "slides"
        return Listing(folder, CLASSES, tuple(files), tuple(foreign), skipped=walk.skipped, groups=groups)

    def _listed(self, path: str, match: re.Match[str]) -> Listed:
        slide = f"{match['year']}-{match['slide']}"
        attributes = (("magnification", match["x"]), ("slide", slide), ("subtype", match["folder"]))
        group = match["number"] if self.config.group_by == "patient" else slide
        return Listed(path, CLASSES.index(match["class"]), group, attributes=attributes)


def find_breast_folder(root: Path | None) -> Path:
    """Return the folder that holds ``benign`` and ``malignant``. Raises ``DataError`` with instructions."""
    below = "histology_slides/breast"
    inside = ("breast", below, f"BreaKHis_v1/{below}", f"BreaKHis_v1/BreaKHis_v1/{below}")

    def holds(folder: Path) -> bool:
        return any((folder / c / "SOB").is_dir() for c in CLASSES)

    return find_layout(root, "BreakHis", holds, inside, "BreakHis in its official layout", WHERE)


def _contradiction(match: re.Match[str]) -> str:
    """Return how the file's name contradicts its folder, or ''."""
    if match["letter"] != match["class"][0].upper():
        return f"the name says class {match['letter']}, the folder {match['class']}"
    if SUBTYPES.get(match["subtype"]) != match["folder"]:
        return f"the name says subtype {match['subtype']}, the folder {match['folder']}"
    if match["magnification"] != match["x"]:
        return f"the name says {match['magnification']}X, the folder {match['x']}X"
    if int(match["x"]) not in MAGNIFICATIONS:
        return f"{match['x']}X is not a magnification of BreakHis"
    return ""
