"""The phantom in immunohistochemistry: nuclei blue with haematoxylin, those of positive cells brown with DAB.

A model of progesterone-receptor staining: a patient is positive when a share of the epithelial nuclei takes up the dye
(at least 1 %: Hammond et al., ASCO/CAP guideline, J Clin Oncol 28, 2010). Tissue, patients' looks and masks are the
phantom's own (``phantom``, ``phantom_tissue``); colours follow Ruifrok & Johnston 2001 (``phantom_optics``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from bench.data.phantom import Patient, Slides, SlidesConfig, check_fraction, draw_biology, images_of, label_of
from bench.data.phantom_nuclei import Field
from bench.data.phantom_optics import DAB, draw_look, photograph
from bench.data.phantom_tissue import Dyes, grow
from bench.seeding import derive_seed

ATYPIA = 0.35  # of the tissue, the same in both classes: only the stain tells them apart
COUNTERSTAIN = 0.6  # haematoxylin beside DAB is kept weak


@dataclass(frozen=True)
class PhantomIHCConfig(SlidesConfig):
    """``positive_fraction`` is of the patients; ``difficulty`` makes positives pale and rare, the background brown."""

    positive_fraction: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        check_fraction("positive_fraction", self.positive_fraction)


class PhantomIHC(Slides):
    """DAB-stained: the second class is positive."""

    Config = PhantomIHCConfig
    name: ClassVar[str] = "phantom_ihc"
    classes: ClassVar[tuple[str, str]] = ("PR-", "PR+")
    modality: ClassVar[str] = "immunohistochemistry"
    haematoxylin: ClassVar[bool] = True
    dab: ClassVar[bool] = True

    def patient(self, number: int) -> Patient:
        """Draw a patient's class, the share of its nuclei that are positive, biology and look."""
        c: PhantomIHCConfig = self.config
        name = f"R{number + 1:03d}"
        rng = np.random.default_rng(derive_seed("phantom-ihc-patient", c.seed, name))
        label = label_of(number, c.patients, c.positive_fraction)
        positive = np.clip(rng.normal(0.85 - 0.6 * c.difficulty, 0.08 + 0.12 * c.difficulty), 0.02, 1.0)
        negative = abs(rng.normal(0, 0.003 + 0.03 * c.difficulty**2))
        return Patient(
            name=name,
            label=label,
            images=images_of(c, name),
            trait=float(positive if label else negative),
            biology=draw_biology(rng),
            look=draw_look(rng, c.stain_variation, DAB),
        )

    def image(self, patient: Patient, number: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint16]]:
        """Return image ``number`` of a patient and its nuclei."""
        c: PhantomIHCConfig = self.config
        rng = np.random.default_rng(derive_seed("phantom-ihc-image", c.seed, patient.name, number))
        dyes = grow(patient.biology, ATYPIA, c.image_size_px, rng)
        share = float(np.clip(patient.trait * np.exp(rng.normal(0, 0.15)), 0, 1))
        dab = brown(dyes, share, 1.5 - 0.8 * c.difficulty, rng)
        dab += (0.03 + 0.12 * c.difficulty * rng.uniform(0.5, 1)) * dyes.eosin  # what binds anywhere in the tissue
        return photograph(COUNTERSTAIN * dyes.haematoxylin, dab, patient.look, rng), dyes.mask


def brown(dyes: Dyes, share: float, strength: float, rng: np.random.Generator) -> Field:
    """Return the DAB of positive nuclei, [S, S]: of this share of the larger ones, each with a density of its own.

    Nuclei of stroma and of lymphocytes, which have no receptor, are the smaller ones.
    """
    from scipy.ndimage import gaussian_filter

    sizes = np.bincount(dyes.mask.ravel(), minlength=2)
    sizes[0] = 0  # no nucleus
    seen = sizes[sizes > 0]
    large = sizes >= (np.median(seen) if len(seen) else 1)
    taken = large & (rng.random(len(sizes)) < share)
    density = np.where(taken, strength * np.exp(rng.normal(0, 0.35, len(sizes))), 0.0)
    density[0] = 0.0
    blurred = gaussian_filter(density[dyes.mask].astype(np.float32), 0.5 * dyes.mask.shape[0] / 96)
    return np.asarray(blurred, dtype=np.float32)
