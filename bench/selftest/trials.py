"""The simulated designs of the selftest: patients, folds and injected effects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bench.analysis.info import FoldSize, test_train_ratio
from bench.data.splits import SplitConfig, make_splits
from bench.seeding import derive_seed
from bench.selftest.logits import Cohort, Folds, Spread, shift_for
from bench.types import DatasetIndex, ImageRecord, Split

EFFECTS = (0.0, 0.02, 0.05, 0.10)  # of patient-level balanced accuracy; 0 is the A/A comparison
MARGIN = 0.02  # equivalence margin of the verdicts, as in suites
WIDE_MARGIN = 0.10  # margin that is wide enough for these designs to show equivalence
ARMS = 4  # arms in the family corrected by Holm, without the reference
IMAGES_A_PATIENT = 20  # mean; BreakHis at one magnification has 24
CHUNK = 50  # studies per task
SPLITS = 10  # number of different splits, used alternately
BOOTSTRAPPED = 5  # the interval over patients is computed for every n-th study
PILOTS = 200  # simulated pilots for the planner
PILOT_REPEATS = 2  # repeats of a pilot, from which the planner predicts one and three repeats

# What the parts of a prediction vary by, so that simulated comparisons look like those of real folds. Measured on 18
# BreakHis patients: with three networks, the 42 comparisons against none in reports/breakhis-small have 0.20 of the
# patients and 0.18 of the images right under one arm only, and patients hold 0.37 of the variance of what is right;
# with small_cnn in 5 folds x 4 repeats (classical, oversample) it is 0.13, 0.17 and 0.41. On 82 phantom patients,
# which it gets right far more often: 0.05, 0.07 and 0.47. Here: 0.17, 0.19 and 0.45. How much of a patient's response
# lasts (here 0.37), and what runs and common training patients add (next to nothing): see ``planning.LASTING_SHARE``.
# The levels leave room for an effect of 10 points.
SPREAD = Spread(
    levels=(0.9, 1.2),
    patient=1.3,
    image=0.8,
    lasting=0.55,
    passing=0.4,
    passing_image=0.6,
    run=0.08,
    bias=0.1,
    training=0.4,
)


@dataclass(frozen=True)
class Trial:
    """One design: patients of each class (BreakHis has 24 and 58), folds, repeats."""

    name: str
    benign: int
    malignant: int
    folds: int
    repeats: int

    @property
    def cohort(self) -> tuple[int, int]:
        """Patients of each class."""
        return (self.benign, self.malignant)

    @property
    def splits(self) -> tuple[tuple[int, int], int]:
        """Key of its splits: trials with the same key share them."""
        return (self.cohort, self.folds)


TRIALS = (
    Trial("5 folds, 82 patients", 24, 58, 5, 1),
    Trial("5 folds × 3, 82 patients", 24, 58, 5, 3),
    Trial("5 folds, 410 patients", 120, 290, 5, 1),
    Trial("10 folds, 410 patients", 120, 290, 10, 1),
)
SAME_ARM_TWICE = TRIALS[
    :2
]  # where the same arm is also run twice: nothing lasts then, and nothing is learnt from other patients


@dataclass(frozen=True)
class Ready:
    """A prepared trial: its patients, its splits, and the logit shifts that inject the effects."""

    trial: Trial
    cohort: Cohort
    folds: Folds  # of SPLITS draws
    ratio: float
    shifts: npt.NDArray[np.floating]

    def of(self, trial: Trial) -> Ready:
        """Return the same cohort with the repeats of another trial."""
        return replace(self, trial=trial, folds=self.folds.first(trial.repeats))


def prepare(trial: Trial, seed: int) -> Ready:
    """Create a cohort, its folds (with enough repeats for a pilot) and the logit shifts that inject the effects.

    The ratio n_test / n_train is that of a report with these folds.
    """
    rng = np.random.default_rng(derive_seed("selftest cohort", seed, trial.cohort))
    labels = np.repeat([0, 1], trial.cohort)
    images = np.maximum(4, np.rint(IMAGES_A_PATIENT * np.exp(rng.normal(-0.125, 0.5, len(labels))))).astype(np.int64)
    cohort = Cohort(labels, images)
    index = _index(cohort)
    trial = replace(trial, repeats=max(PILOT_REPEATS, trial.repeats))
    drawn = [
        make_splits(index, SplitConfig(folds=trial.folds, repeats=trial.repeats, seed=derive_seed("selftest", seed, i)))
        for i in range(SPLITS)
    ]
    sizes = [FoldSize(s.fold, s.repeat, len(s.train), len(s.validation), len(s.test)) for s in drawn[0]]
    ratio = test_train_ratio(sizes)
    shifts = shift_for(cohort, SPREAD, EFFECTS, np.random.default_rng(derive_seed("selftest shift", seed)))
    return Ready(trial, cohort, _as_folds(trial, drawn), ratio, shifts)


def _index(cohort: Cohort) -> DatasetIndex:
    records = [
        ImageRecord(f"{p:04d}/{i:03d}", int(label), f"{p:04d}", f"{p:04d}{i:03d}")
        for p, (label, n) in enumerate(zip(cohort.labels, cohort.images, strict=True))
        for i in range(n)
    ]
    return DatasetIndex("selftest", Path(), ("benign", "malignant"), tuple(records))


def _as_folds(trial: Trial, drawn: Sequence[Sequence[Split]]) -> Folds:
    tested = np.zeros((len(drawn), trial.repeats, sum(trial.cohort)), dtype=np.int64)
    trained = np.zeros((len(drawn), trial.repeats, trial.folds, sum(trial.cohort)), dtype=np.bool_)
    for i, splits in enumerate(drawn):
        for s in splits:
            tested[i, s.repeat, _patients(s.test)] = s.fold
            trained[i, s.repeat, s.fold, _patients(s.train)] = True
    return Folds(tested, trained)


def _patients(paths: Sequence[str]) -> list[int]:
    return sorted({int(p.partition("/")[0]) for p in paths})
