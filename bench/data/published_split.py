"""The split protocol of the TL-S-CycleGAN publication: a few images of each class, drawn by seed.

Fold 0 draws image by image, as the authors did, so that training and test share patients. Fold 1 draws the same number
of images with disjoint patients. The score difference between the folds is the effect of shared patients.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from bench.data.left_out import losses
from bench.data.partition import Counts, partition
from bench.errors import DataError
from bench.leakage import PARTS, PartName
from bench.types import DatasetIndex, Unit

PUBLISHED = "published"
UNITS: tuple[Unit, ...] = ("image", "group")  # of folds 0 and 1
TRIES = 50  # draws of patients before giving up
Wanted = Mapping[PartName, int]  # images per class


def by_unit(index: DatasetIndex, unit: Unit) -> DatasetIndex:
    """Return the index for a split of that unit: for 'image' every image is its own group."""
    if unit == "group":
        return index
    return replace(index, records=tuple(replace(r, group_id=r.path) for r in index.records))


def draw_images(index: DatasetIndex, wanted: Wanted, rng: np.random.Generator) -> dict[str, str]:
    """Return the part of each drawn image by its path, image by image. Raises ``DataError`` if there are too few."""
    _check_enough(index, wanted)
    return _take(index, dict.fromkeys((r.path for r in index.records), None), wanted, rng)


def draw_groups(
    index: DatasetIndex,
    names: list[str],
    counts: Counts,
    fractions: Mapping[PartName, float],
    wanted: Wanted,
    rng: np.random.Generator,
) -> dict[str, str]:
    """Return the part of each drawn image by its path; no group (patient) has images in two parts.

    ``names`` and ``counts`` are ``group_counts(index)``. The groups are first divided by ``fractions`` of the images,
    so that a few test images come from many patients; if a part is then short of images, by the wanted numbers of
    images. Raises ``DataError`` when no draw gives every part its images.
    """
    _check_enough(index, wanted)
    least = np.array([wanted[p] for p in PARTS])
    dealt, needed = np.array([fractions[p] for p in PARTS]), least / least.sum()
    for attempt in range(TRIES):
        shares = dealt + (needed - dealt) * attempt / (TRIES - 1)
        part = partition(counts, shares, rng, min_groups=(1, 1, 1))
        totals = np.stack([counts[part == p].sum(axis=0) for p in range(len(PARTS))])
        if (totals >= least[:, None]).all():
            part_of = dict(zip(names, (PARTS[p] for p in part), strict=True))
            return _take(index, {r.path: part_of[r.group_id] for r in index.records}, wanted, rng)
    raise DataError(
        f"{losses(index)}{index.name}: whole groups (patients) cannot give {_words(wanted)} of each class; largest "
        f"groups: {', '.join(f'{c} {n}' for c, n in zip(index.classes, counts.max(axis=0), strict=True))} images. Ask "
        "for fewer images (split.train_per_class, …), or take more data"
    )


def _take(
    index: DatasetIndex, allowed: Mapping[str, str | None], wanted: Wanted, rng: np.random.Generator
) -> dict[str, str]:
    """Draw the wanted images of each class for test, training, validation in this order; None allows any part."""
    part_of: dict[str, str] = {}
    for label in range(len(index.classes)):
        paths = sorted(r.path for r in index.records if r.label == label)
        shuffled = [paths[i] for i in rng.permutation(len(paths))]
        for part in ("test", "train", "validation"):
            free = [p for p in shuffled if p not in part_of and allowed[p] in (None, part)]
            part_of |= dict.fromkeys(free[: wanted[part]], part)
    return part_of


def _check_enough(index: DatasetIndex, wanted: Wanted) -> None:
    counts = [sum(r.label == label for r in index.records) for label in range(len(index.classes))]
    needed = sum(wanted.values())
    short = [f"{c} has {n}" for c, n in zip(index.classes, counts, strict=True) if n < needed]
    if short:
        raise DataError(
            f"{losses(index)}{index.name}: {_words(wanted)} are {needed} images of each class; {'; '.join(short)}. Ask "
            "for fewer (split.train_per_class, …), or take more data"
        )


def _words(wanted: Wanted) -> str:
    return ", ".join(f"{n} for {part}" for part, n in wanted.items())
