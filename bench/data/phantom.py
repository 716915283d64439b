"""Phantom: procedural histology made at run time from a seed, with nuclear masks, for machines without real images.

Benign and malignant differ in ``atypia`` (see ``phantom_tissue``). Every patient has a biology and a stain, focus and
illumination of its own (``phantom_optics``): a network that may see other images of a test patient recognises the slide
rather than the disease, so image-level splits look better than they are, and patient-level ones do not.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from bench.data.listing import ImageChecks, Listed
from bench.data.phantom_optics import Look, draw_look, photograph
from bench.data.phantom_tissue import Biology, grow
from bench.data.records import scan
from bench.errors import ConfigError
from bench.seeding import derive_seed
from bench.types import DatasetIndex

CLASSES = ("benign", "malignant")
_VERSION = 1  # raise it when the same config would draw other images
_MARKER = "done.json"


@dataclass(frozen=True)
class PhantomConfig:
    """The set to draw.

    ``malignant_fraction`` is of the patients; ``images_spread`` the relative half-width of the images per patient
    (0.25: 8 to 12 where 10 are asked for). ``difficulty`` in [0, 1] brings the classes' atypia together and lets
    patients and images of a class lie further apart; at 1 they overlap almost wholly. ``stain_variation`` scales how
    far patients' stain, focus and light lie apart (0: all alike, 1: as slides of several laboratories).
    """

    image_size_px: int = 96
    patients: int = 20
    malignant_fraction: float = 0.5
    images_per_patient: int = 10
    images_spread: float = 0.25
    difficulty: float = 0.4
    stain_variation: float = 0.9
    seed: int = 0

    def __post_init__(self) -> None:
        if not 32 <= self.image_size_px <= 1024:
            raise ConfigError(f"phantom: image_size_px is {self.image_size_px}; 32 to 1024 can be drawn")
        if self.patients < 2 or self.images_per_patient < 1:
            raise ConfigError(
                f"phantom: got {self.patients} patients of {self.images_per_patient} images; "
                "at least 2 patients of 1 image are needed"
            )
        if not 0 < self.malignant_fraction < 1:
            raise ConfigError(f"phantom: malignant_fraction is {self.malignant_fraction}; it must lie between 0 and 1")
        for name, top in (("images_spread", 0.9), ("difficulty", 1.0), ("stain_variation", 2.0)):
            if not 0 <= getattr(self, name) <= top:
                raise ConfigError(f"phantom: {name} is {getattr(self, name)}; it must lie in [0, {top}]")


@dataclass(frozen=True)
class _Patient:
    name: str
    label: int
    images: int
    atypia: float
    biology: Biology
    look: Look


class Phantom:
    """Procedural H&E-like histology of made-up patients. Nuclear instance masks are uint16, 0 where there is none."""

    Config = PhantomConfig
    modality: ClassVar[str] = "histology"

    def __init__(self, config: Any) -> None:
        self.config: PhantomConfig = config

    def index(self, root: Path | None, cache: Path) -> DatasetIndex:
        """Draw the set below ``cache`` unless it is there already, and list it; ``root`` is not used."""
        key = hashlib.sha256(json.dumps([_VERSION, asdict(self.config)], sort_keys=True).encode()).hexdigest()[:12]
        folder = cache / f"phantom-{key}"
        files = _listed(folder)
        if files is None:
            self._draw(folder)
            files = _listed(folder) or []
        records, problems = scan(folder, files, classes=CLASSES, cache=cache, checks=ImageChecks("refuse"))
        return DatasetIndex("phantom", folder, CLASSES, tuple(records), tuple(problems))

    def _draw(self, folder: Path) -> None:
        from filelock import FileLock
        from PIL import Image

        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_suffix(".lock")):
            if _listed(folder) is not None:
                return  # another process drew it meanwhile
            work = folder.with_suffix(".tmp")
            for stale in (work, folder):
                shutil.rmtree(stale, ignore_errors=True)
            files = []
            for patient in (_draw_patient(self.config, number) for number in range(self.config.patients)):
                for i in range(patient.images):
                    picture, mask = draw_image(self.config, patient, i)
                    name = f"{CLASSES[patient.label]}/{patient.name}/{i:03d}.png"
                    for path, image in ((work / name, picture), (work / "masks" / name, mask)):
                        path.parent.mkdir(parents=True, exist_ok=True)
                        Image.fromarray(image).save(path, compress_level=1)
                    files.append(name)
            marker = json.dumps({"config": asdict(self.config), "files": files}, indent=1)
            (work / _MARKER).write_text(marker, encoding="utf-8")
            os.replace(work, folder)


def draw_image(
    config: PhantomConfig, patient: _Patient, number: int
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint16]]:
    """Return image ``number`` of a patient, uint8 [S, S, 3], and its nuclei, uint16 [S, S].

    It does not depend on how many images are drawn.
    """
    rng = np.random.default_rng(derive_seed("phantom-image", config.seed, patient.name, number))
    atypia = float(np.clip(patient.atypia + rng.normal(0, 0.05 + 0.06 * config.difficulty), 0, 1))
    dyes = grow(patient.biology, atypia, config.image_size_px, rng)
    return photograph(dyes.haematoxylin, dyes.eosin, patient.look, rng), dyes.mask


def _draw_patient(config: PhantomConfig, number: int) -> _Patient:
    """Draw a patient's class, biology and look. Classes alternate as evenly as their shares allow."""
    name = f"P{number + 1:03d}"
    rng = np.random.default_rng(derive_seed("phantom-patient", config.seed, name))
    malignant = min(max(round(config.malignant_fraction * config.patients), 1), config.patients - 1)
    label = (number + 1) * malignant // config.patients - number * malignant // config.patients
    apart = 1 - 0.95 * config.difficulty**2  # of the classes' mean atypia
    spread = 0.03 + 0.06 * config.difficulty  # sd between patients of a class
    count = np.random.default_rng(derive_seed("phantom-count", config.seed, name))  # apart: spread changes no picture
    fewest = max(1, round(config.images_per_patient * (1 - config.images_spread)))
    most = max(1, round(config.images_per_patient * (1 + config.images_spread)))
    return _Patient(
        name=name,
        label=label,
        images=int(count.integers(fewest, most + 1)),
        atypia=float(0.5 + (label - 0.5) * apart + rng.normal(0, spread)),
        biology=_draw_biology(rng),
        look=draw_look(rng, config.stain_variation),
    )


def _draw_biology(rng: np.random.Generator) -> Biology:
    def around(sd: float) -> float:
        return float(np.exp(rng.normal(0, sd)))

    return Biology(
        nuclear_size=around(0.10),
        crowding=around(0.12),
        darkness=around(0.12),
        gland_size=around(0.20),
        epithelium=around(0.18),
        fibre_length=around(0.30),
        looseness=around(0.30),
        inflammation=around(0.50),
    )


def _listed(folder: Path) -> list[Listed] | None:
    """Return the images of a finished set; None when it is absent or lacks a file."""
    try:
        names = json.loads((folder / _MARKER).read_text(encoding="utf-8"))["files"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if not all((folder / n).is_file() and (folder / "masks" / n).is_file() for n in names):
        return None
    return [Listed(n, CLASSES.index(n.split("/")[0]), n.split("/")[1], (f"masks/{n}",)) for n in names]
