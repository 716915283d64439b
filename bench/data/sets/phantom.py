"""Phantom: procedural histology drawn at run time from a seed, with nuclear masks, for use without real images.

Benign and malignant differ in ``atypia`` (see ``phantom_tissue``). Every patient has individual biology, stain, focus
and illumination (``phantom_optics``). A network that has seen other images of a test patient recognises the slide
rather than the disease, so image-level splits give too optimistic scores, and patient-level splits do not.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from bench.data.listing import ImageChecks, Listed
from bench.data.records import scan
from bench.data.sets.phantom_optics import Look, draw_look, photograph
from bench.data.sets.phantom_tissue import Biology, grow
from bench.errors import ConfigError
from bench.seeding import derive_seed
from bench.types import DatasetIndex

_MARKER = "done.json"


@dataclass(frozen=True)
class SlidesConfig:
    """The set to draw.

    ``images_spread`` is the relative half-width of the images per patient (0.25: 8 to 12 for a mean of 10).
    ``difficulty`` in [0, 1] brings the classes closer together and increases the variance between patients and images
    of a class; at 1 they overlap almost completely. ``stain_variation`` scales the differences of stain, focus and
    light between patients (0: none, 1: as slides of several laboratories).
    """

    image_size_px: int = 96
    patients: int = 20
    images_per_patient: int = 10
    images_spread: float = 0.25
    difficulty: float = 0.4
    stain_variation: float = 0.9
    seed: int = 0

    def __post_init__(self) -> None:
        if not 32 <= self.image_size_px <= 1024:
            raise ConfigError(f"phantom: image_size_px is {self.image_size_px}; expected 32 to 1024")
        if self.patients < 2 or self.images_per_patient < 1:
            raise ConfigError(
                f"phantom: got {self.patients} patients of {self.images_per_patient} images; "
                "expected at least 2 patients with 1 image"
            )
        for name, top in (("images_spread", 0.9), ("difficulty", 1.0), ("stain_variation", 2.0)):
            if not 0 <= getattr(self, name) <= top:
                raise ConfigError(f"phantom: {name} is {getattr(self, name)}; it must lie in [0, {top}]")


@dataclass(frozen=True)
class PhantomConfig(SlidesConfig):
    """``malignant_fraction`` is a fraction of the patients; ``difficulty`` reduces the difference in atypia."""

    malignant_fraction: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        check_fraction("malignant_fraction", self.malignant_fraction)


def check_fraction(name: str, value: float) -> None:
    """Raise ``ConfigError`` if the fraction leaves a class without patients."""
    if not 0 < value < 1:
        raise ConfigError(f"phantom: {name} is {value}; it must lie between 0 and 1")


@dataclass(frozen=True)
class Patient:
    """A simulated patient: class, number of images, and what all images share.

    ``trait`` is what distinguishes the classes: atypia, or the share of nuclei that take up DAB.
    """

    name: str
    label: int
    images: int
    trait: float
    biology: Biology
    look: Look


class Slides(ABC):
    """Procedural histology of simulated patients. Nuclear instance masks are uint16, 0 for background.

    The attribute ``laboratory`` is the laboratory with the more similar dyes: A or B.
    """

    name: ClassVar[str]
    classes: ClassVar[tuple[str, str]]  # the second is the positive one
    licence: ClassVar[str] = "none needed: the images are generated"
    modality: ClassVar[str] = "histology"
    drawing: ClassVar[int] = 1  # increase it when the same config would draw different images

    def __init__(self, config: Any) -> None:
        self.config: Any = config

    @abstractmethod
    def patient(self, number: int) -> Patient:
        """Draw a patient's class, biology and appearance."""

    @abstractmethod
    def image(self, patient: Patient, number: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint16]]:
        """Return image ``number`` of a patient, uint8 [S, S, 3], and its nuclei, uint16 [S, S].

        It does not depend on how many images are drawn.
        """

    def index(self, root: Path | None, cache: Path) -> DatasetIndex:
        """Draw the set below ``cache`` unless it exists there, and list it; ``root`` is not used."""
        key = hashlib.sha256(json.dumps([self.drawing, asdict(self.config)], sort_keys=True).encode()).hexdigest()[:12]
        folder = cache / f"{self.name}-{key}"
        files = self._listed(folder)
        if files is None:
            self._draw(folder)
            files = self._listed(folder) or []
        records, problems = scan(folder, files, classes=self.classes, cache=cache, checks=ImageChecks("refuse"))
        return DatasetIndex(self.name, folder, self.classes, tuple(records), tuple(problems), positive=self.classes[1])

    def _draw(self, folder: Path) -> None:
        from filelock import FileLock
        from PIL import Image

        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_suffix(".lock")):
            if self._listed(folder) is not None:
                return  # another process drew it in the meantime
            work = folder.with_suffix(".tmp")
            for stale in (work, folder):
                shutil.rmtree(stale, ignore_errors=True)
            files = []
            for patient in (self.patient(number) for number in range(self.config.patients)):
                for i in range(patient.images):
                    picture, mask = self.image(patient, i)
                    name = f"{self.classes[patient.label]}/{patient.name}/{i:03d}.png"
                    for path, image in ((work / name, picture), (work / "masks" / name, mask)):
                        path.parent.mkdir(parents=True, exist_ok=True)
                        Image.fromarray(image).save(path, compress_level=1)
                    files.append(name)
            marker = json.dumps({"config": asdict(self.config), "files": files}, indent=1)
            (work / _MARKER).write_text(marker, encoding="utf-8")
            os.replace(work, folder)

    def _listed(self, folder: Path) -> list[Listed] | None:
        """Return the images of a finished set; None if it is missing or lacks a file."""
        try:
            names = json.loads((folder / _MARKER).read_text(encoding="utf-8"))["files"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        if not all((folder / n).is_file() and (folder / "masks" / n).is_file() for n in names):
            return None
        dyes = {p.name: p.look.between for p in map(self.patient, range(self.config.patients))}
        labs = {name: (("laboratory", "A" if between < 0.5 else "B"),) for name, between in dyes.items()}
        parts = [(n, *n.split("/")[:2]) for n in names]
        return [Listed(n, self.classes.index(c), p, (f"masks/{n}",), labs[p]) for n, c, p in parts]


class Phantom(Slides):
    """H&E-like: the second class is malignant."""

    Config = PhantomConfig
    name: ClassVar[str] = "phantom"
    classes: ClassVar[tuple[str, str]] = ("benign", "malignant")

    def image(self, patient: Patient, number: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint16]]:
        """Return image ``number`` of a patient and its nuclei."""
        c: PhantomConfig = self.config
        rng = np.random.default_rng(derive_seed("phantom-image", c.seed, patient.name, number))
        atypia = float(np.clip(patient.trait + rng.normal(0, 0.05 + 0.06 * c.difficulty), 0, 1))
        dyes = grow(patient.biology, atypia, c.image_size_px, rng)
        return photograph(dyes.haematoxylin, dyes.eosin, patient.look, rng), dyes.mask

    def patient(self, number: int) -> Patient:
        """Draw a patient's class, biology and appearance. Classes alternate as evenly as their fractions allow."""
        c: PhantomConfig = self.config
        name = f"P{number + 1:03d}"
        rng = np.random.default_rng(derive_seed("phantom-patient", c.seed, name))
        label = label_of(number, c.patients, c.malignant_fraction)
        apart = 1 - 0.95 * c.difficulty**2  # of the classes' mean atypia
        spread = 0.03 + 0.06 * c.difficulty  # sd between patients of a class
        return Patient(
            name=name,
            label=label,
            images=images_of(c, name),
            trait=float(0.5 + (label - 0.5) * apart + rng.normal(0, spread)),
            biology=draw_biology(rng),
            look=draw_look(rng, c.stain_variation),
        )


def label_of(number: int, patients: int, fraction: float) -> int:
    """Return the class of a patient: the second has the share ``fraction``, and no class is without patients."""
    second = min(max(round(fraction * patients), 1), patients - 1)
    return (number + 1) * second // patients - number * second // patients


def images_of(config: SlidesConfig, name: str) -> int:
    """Draw how many images a patient has."""
    count = np.random.default_rng(
        derive_seed("phantom-count", config.seed, name)
    )  # a separate generator: spread changes no picture
    fewest = max(1, round(config.images_per_patient * (1 - config.images_spread)))
    most = max(1, round(config.images_per_patient * (1 + config.images_spread)))
    return int(count.integers(fewest, most + 1))


def draw_biology(rng: np.random.Generator) -> Biology:
    """Draw a patient's tissue."""

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
