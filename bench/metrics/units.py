"""The unit that scores count and intervals resample.

The images of a group (a patient, if patients are known) are one observation. If every group of a data set has images of
one class, a group is scored once, by the mean probability of its images. If a group has images of several classes
(cells of one patient, lesions), it has no single class: images are scored, and whole groups are resampled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bench.errors import DataError
from bench.types import DatasetIndex

Ints = npt.NDArray[np.int64]
PATIENTS, GROUPS = "patients", "groups"


@dataclass(frozen=True)
class ScoredUnit:
    """The unit that the scores of a data set count, and its name.

    ``groups`` is the unit that folds do not divide: 'patients', or what the data set knows instead, such as 'lesions'
    or 'slides' (``DatasetIndex.group_name``); 'groups' if nothing is known. ``mixed`` of them
    have images of several classes.
    """

    groups: str = PATIENTS
    mixed: int = 0

    @property
    def per_group(self) -> bool:
        """Whether each group is scored once; if not, each image is."""
        return self.mixed == 0

    @property
    def group(self) -> str:
        """The singular of ``groups``: 'patient', 'lesion', 'group'."""
        return self.groups.removesuffix("s")

    @property
    def prefix(self) -> str:
        """The prefix of the metrics used for verdicts: 'patient_', or '' if images are scored."""
        return "patient_" if self.per_group else ""

    @property
    def primary(self) -> str:
        """The metric used for verdicts."""
        return f"{self.prefix}balanced_accuracy"

    @property
    def level(self) -> str:
        """'patient-level', 'lesion-level', 'group-level' or 'image-level'."""
        return f"{self.group}-level" if self.per_group else "image-level"

    @property
    def each(self) -> str:
        """'per patient', 'per group' or 'per image'."""
        return f"per {self.group}" if self.per_group else "per image"

    @property
    def metric(self) -> str:
        """The primary metric in words."""
        return f"{self.level} balanced accuracy" + ("" if self.per_group else f", clustered by {self.group}")

    @property
    def note(self) -> str:
        """A sentence on why images are scored; '' if groups are."""
        if self.per_group:
            return ""
        have = f"1 of the {self.groups} has" if self.mixed == 1 else f"{self.mixed} of the {self.groups} have"
        return (
            f"{have} images of several classes, so images are scored, and intervals and power count each {self.group} "
            "with all its images once."
        )


def scored_unit(index: DatasetIndex) -> ScoredUnit:
    """Return the unit of a data set. It depends on the whole set, so all folds, parts and arms have the same."""
    classes: dict[str, set[int]] = {}
    for record in index.records:
        classes.setdefault(record.group_id, set()).add(record.label)
    alone = any(r.group_id == r.path for r in index.records)  # without patient ids, an image is its own group
    known = "" if index.group_name == "images" else index.group_name
    return ScoredUnit(known or (GROUPS if alone else PATIENTS), sum(len(labels) > 1 for labels in classes.values()))


def group_places(groups: Sequence[object]) -> Ints:
    """Return the index of each image's group among the sorted groups, int64 [N] in 0..P-1."""
    names = [str(g) for g in groups]
    place = {name: i for i, name in enumerate(sorted(set(names)))}
    return np.array([place[name] for name in names], dtype=np.int64)


def group_labels(y_true: Ints, groups: Sequence[object]) -> Ints:
    """Return the class of each group, int64 [P], in the order of ``group_places``.

    Raises ``DataError`` when a group has images of several classes.
    """
    place = group_places(groups)
    labels = y_true[np.unique(place, return_index=True)[1]]
    if len(mixed := np.flatnonzero(labels[place] != y_true)):
        raise DataError(
            f"group {str(groups[mixed[0]])!r} has images of several classes, so it has no single class; expected "
            "one class in each group. Score the images instead"
        )
    return labels


def group_strata(y_true: Ints, groups: Sequence[object]) -> Ints:
    """Return the stratum of each group, int64 [P]: groups with the same classes are resampled together.

    A group with a unique combination of classes joins the smallest stratum that shares a class with it, if every class
    is then still present in all groups of some stratum: so no resample loses a class.
    """
    place = group_places(groups)
    lacks = np.ones((place.max() + 1, y_true.max() + 1), dtype=bool)
    lacks[place, y_true] = False
    patterns, found = np.unique(
        lacks, axis=0, return_inverse=True
    )  # patterns with one class: in the order of the classes
    stratum: Ints = found.reshape(-1).astype(np.int64)
    kept = ~patterns  # [strata, classes]: classes that all groups of a stratum have
    every = kept.any(axis=0)
    for s in np.flatnonzero(np.bincount(stratum) == 1):
        size = np.bincount(stratum, minlength=len(kept))
        if size[s] != 1:
            continue
        for t in sorted(np.flatnonzero((size > 0) & (kept & kept[s]).any(axis=1)), key=lambda t: (size[t], t)):
            after = kept.copy()
            after[s], after[t] = False, kept[s] & kept[t]
            if t != s and (after.any(axis=0) == every).all():
                stratum[stratum == s], kept = t, after
                break
    return stratum
