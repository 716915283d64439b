"""The phantom in immunohistochemistry: nuclei blue with haematoxylin, those of positive cells brown with DAB.

A model of progesterone-receptor staining. The label is exact: a patient is positive when at least 1 % of its nuclei
take up the dye, else negative (Hammond et al., ASCO/CAP guideline, J Clin Oncol 28, 2010). Every image stays on its
patient's side of 1 %, because the count of its stained nuclei is rounded up or down: an image of fewer than 100 nuclei
has none if the patient is negative and at least one if positive (an image without nuclei carries no information). The
classes are hard to distinguish visually: few and pale nuclei, non-specific binding of the dye, dried edges,
counterstain and focus.

Tissue, patients' appearance and masks are those of the phantom (``phantom``, ``phantom_tissue``); colours follow
Ruifrok & Johnston 2001 (``phantom_optics``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from bench.data.sets.phantom import Patient, Slides, SlidesConfig, check_fraction, draw_biology, images_of, label_of
from bench.data.sets.phantom_nuclei import Field
from bench.data.sets.phantom_optics import DAB, draw_look, photograph
from bench.data.sets.phantom_tissue import Dyes, grow
from bench.seeding import derive_seed

ATYPIA = 0.35  # of the tissue, the same in both classes: they differ only in the stain
COUNTERSTAIN = 0.6  # haematoxylin beside DAB is kept weak
POSITIVE = 0.01  # share of the nuclei, minimum
NEGATIVE = 0.0099  # maximum
HIGHEST = 0.45  # share of the nuclei; the others are of cells without the receptor


@dataclass(frozen=True)
class PhantomIHCConfig(SlidesConfig):
    """``positive_fraction`` is a fraction of the patients.

    ``difficulty`` changes no label. It reduces the share of stained nuclei in positive patients (from 30 % at 0 and 2 %
    at 0.8 down to 1 % at 1) and their intensity, adds dye to the background and to edges, and increases the variation
    of counterstain and focus between patients.
    """

    positive_fraction: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        check_fraction("positive_fraction", self.positive_fraction)


@dataclass(frozen=True)
class Staining:
    """Stain properties of one patient's slides, in addition to its ``Look``; densities before colour."""

    strength: float  # of DAB in a stained nucleus
    background: float  # of DAB that binds non-specifically in the tissue
    edge: float  # of DAB at a dried edge
    counterstain: float


class PhantomIHC(Slides):
    """DAB-stained: the second class is positive."""

    Config = PhantomIHCConfig
    name: ClassVar[str] = "phantom_ihc"
    classes: ClassVar[tuple[str, str]] = ("PR-", "PR+")
    modality: ClassVar[str] = "immunohistochemistry"
    haematoxylin: ClassVar[bool] = True
    dab: ClassVar[bool] = True
    drawing: ClassVar[int] = 2

    def patient(self, number: int) -> Patient:
        """Draw a patient's class, the share of stained nuclei (``trait``), biology and appearance."""
        c: PhantomIHCConfig = self.config
        name = f"R{number + 1:03d}"
        rng = np.random.default_rng(derive_seed("phantom-ihc-patient", c.seed, name))
        label = label_of(number, c.patients, c.positive_fraction)
        lowest = 0.3 ** (1 - c.difficulty) * POSITIVE**c.difficulty
        positive = max(POSITIVE, math.exp(rng.uniform(math.log(lowest), math.log(HIGHEST))))
        negative = NEGATIVE * c.difficulty * rng.random()
        biology, look = draw_biology(rng), draw_look(rng, c.stain_variation, DAB)
        return Patient(
            name=name,
            label=label,
            images=images_of(c, name),
            trait=float(positive if label else negative),
            biology=biology,
            look=replace(look, blur_px=look.blur_px + 0.5 * c.difficulty * abs(rng.normal())),
        )

    def staining(self, patient: Patient) -> Staining:
        """Draw how a patient's slides were stained; it does not depend on the class."""
        d = self.config.difficulty
        rng = np.random.default_rng(derive_seed("phantom-ihc-staining", self.config.seed, patient.name))
        return Staining(
            strength=float((1.5 - 0.8 * d) * np.exp(rng.normal(0, 0.3 * d))),
            background=float(0.03 + 0.16 * d * rng.random() ** 2),
            edge=float(0.7 * d * rng.random()),
            counterstain=float(COUNTERSTAIN * np.exp(rng.normal(0, 0.35 * d))),
        )

    def image(self, patient: Patient, number: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint16]]:
        """Return image ``number`` of a patient and its nuclei."""
        c: PhantomIHCConfig = self.config
        rng = np.random.default_rng(derive_seed("phantom-ihc-image", c.seed, patient.name, number))
        dyes = grow(patient.biology, ATYPIA, c.image_size_px, rng)
        stain = self.staining(patient)
        dab = brown(dyes, stained(dyes, patient, rng), stain.strength, rng)
        dab += stain.background * rng.uniform(0.5, 1) * dyes.eosin
        dab += stain.edge * edge(c.image_size_px, rng) * (dyes.eosin + dyes.haematoxylin)
        return photograph(stain.counterstain * dyes.haematoxylin, dab, patient.look, rng), dyes.mask


def stained(dyes: Dyes, patient: Patient, rng: np.random.Generator) -> npt.NDArray[np.intp]:
    """Choose the nuclei of an image that take up the dye, numbers of the mask [N]: on the patient's side of 1 %.

    They are among the larger ones: the smaller nuclei are of stroma and lymphocytes, which have no receptor.
    """
    sizes = np.bincount(dyes.mask.ravel(), minlength=2)
    sizes[0] = 0  # no nucleus
    seen = sizes[sizes > 0]
    if not len(seen):
        return np.empty(0, dtype=np.intp)
    large = np.flatnonzero(sizes >= np.median(seen))
    share = patient.trait * np.exp(rng.normal(0, 0.15))
    if patient.label:
        wanted = math.ceil(max(POSITIVE, share) * len(seen))
    else:
        wanted = math.floor(min(NEGATIVE, share) * len(seen))
    return rng.choice(large, min(wanted, len(large)), replace=False)


def brown(dyes: Dyes, taken: npt.NDArray[np.intp], strength: float, rng: np.random.Generator) -> Field:
    """Return the DAB of these nuclei, [S, S]; each has an individual density."""
    from scipy.ndimage import gaussian_filter

    density = np.zeros(int(dyes.mask.max()) + 1, dtype=np.float32)
    density[taken] = strength * np.exp(rng.normal(0, 0.35, len(taken)))
    return np.asarray(gaussian_filter(density[dyes.mask], 0.5 * dyes.mask.shape[0] / 96), dtype=np.float32)


def edge(size_px: int, rng: np.random.Generator) -> Field:
    """Return the dryness of each place, [S, S] in [0, 1]: zero in most images, a gradient towards one side in some."""
    angle, depth, dry = rng.uniform(0, 2 * np.pi), rng.uniform(0.1, 0.5), rng.random() < 0.2
    across = np.linspace(-1, 1, size_px, dtype=np.float32)
    along = across[None, :] * np.cos(angle) + across[:, None] * np.sin(angle)
    return np.asarray(dry * np.clip((along - 1 + depth) / depth, 0, 1), dtype=np.float32)
