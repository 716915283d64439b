"""Malaria: single red blood cells from thin blood smears, with and without parasites.

Rajaraman, Antani, Poostchi et al.: "Pre-trained convolutional neural networks as feature extractors toward improved
malaria parasite detection in thin blood smear images", PeerJ 6:e4568, 2018; National Library of Medicine. 27,558 cells.
Names such as ``C100P61ThinF_IMG_20150918_144104_cell_162.png`` begin with the patient, ``C<n>``. Most patients with
malaria have cells of both classes, so that labels vary within a group, and scores are of images, clustered by patient.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from bench.data.listing import ImageChecks, Listed, Listing
from bench.data.records import index_listing
from bench.data.sets.finding import find_layout
from bench.data.walk import Walk
from bench.errors import DataError
from bench.types import DataProblem, DatasetIndex

HOMEPAGE = "https://lhncbc.nlm.nih.gov/LHC-research/LHC-projects/image-processing/malaria-datasheet.html"
CLASSES = ("Uninfected", "Parasitized")
WHERE = f"""\
Expected layout:
  cell_images/
    Parasitized/C100P61ThinF_IMG_20150918_144104_cell_162.png, …
    Uninfected/C1_thinF_IMG_20150604_104722_cell_9.png, …
What to do: download the set (350 MB, free) from {HOMEPAGE}
or with `bench data download malaria`, unpack it anywhere, and name that folder with `--data DIR` or the variable
BENCH_DATA, e.g. `--data data/cell_images`."""
_PATIENT = re.compile(r"C\d+(?=\D)")  # anywhere in the name: ParasitizedC100P61ThinF_…; 'cell_162' has a small c


@dataclass(frozen=True)
class MalariaConfig(ImageChecks):
    """No options of its own."""


class Malaria:
    """Cells without against cells with a parasite, grouped by patient."""

    Config = MalariaConfig
    modality: ClassVar[str] = "cells"

    def __init__(self, config: Any) -> None:
        self.config: MalariaConfig = config

    def index(self, root: Path | None, cache: Path) -> DatasetIndex:
        """Read the images. ``root`` is the folder of the classes, or up to two above it. Raises ``DataError``."""
        found = index_listing("malaria", self.listing(root), self.config, cache, WHERE)
        return replace(found, positive="Parasitized")

    def listing(self, root: Path | None) -> Listing:
        """Return the images, unread; names without a patient are reported. Raises ``DataError`` if there are none."""
        folder = find_cell_folder(root)
        files: list[Listed] = []
        foreign: list[DataProblem] = []
        walk = Walk(folder)
        for label, name in enumerate(CLASSES):
            for path in walk.pictures(name):
                if match := _PATIENT.search(path.rsplit("/", 1)[-1]):
                    files.append(Listed(path, label, match[0]))
                else:
                    detail = "expected a name that contains the patient, such as C100P61ThinF_…_cell_162.png"
                    foreign.append(DataProblem(path, "foreign_name", detail))
        walk.leave(CLASSES)
        if not files:
            raise DataError(f"no images of cells with a patient in the name under {folder}.\n{WHERE}")
        return Listing(folder, CLASSES, tuple(files), tuple(foreign), stain="", skipped=walk.skipped)


def find_cell_folder(root: Path | None) -> Path:
    """Return the folder of Parasitized and Uninfected. Raises ``DataError`` with instructions."""
    missing = "the malaria set: no folders Parasitized and Uninfected"
    inside = ("cell_images", "cell_images/cell_images", "malaria")
    return find_layout(root, "malaria", lambda f: all((f / c).is_dir() for c in CLASSES), inside, missing, WHERE)
