"""The leakage checks: source images of a result, and which fold may use it.

``FoldParts`` lists the groups (patients), images and file contents in each part of a fold: training, validation, test
and, in some learning curves, unlabelled images, which only generators may see.
``SourceImages`` lists the real images behind a result: a training set, a synthetic set (through its generator), a
validation set, or fitted statistics. A result may be used in one part of a fold only if all its source images lie in
that part. All code that trains or selects calls these checks, so generators, thresholds and normalisation constants
follow the same rule as images.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from bench.errors import DataError, LeakageError
from bench.files import write_atomic
from bench.types import ImageRecord

PartName = Literal["train", "validation", "test", "unlabelled"]
PARTS: tuple[PartName, ...] = ("train", "validation", "test")  # the parts of every fold
UNLABELLED: PartName = "unlabelled"  # further patients of a learning curve's set, used without labels


@dataclass(frozen=True)
class SourceImages:
    """The real images behind a result, as far as they are known.

    ``groups`` and ``paths`` are those of ``ImageRecord``; ``content`` holds SHA-256 sums (hex) of files and, if
    requested, of pixels (``pixel_sums``).
    """

    groups: frozenset[str] = frozenset()
    paths: frozenset[str] = frozenset()
    content: frozenset[str] = frozenset()

    @classmethod
    def of(cls, records: Iterable[ImageRecord]) -> SourceImages:
        """Return the source images of a result made from all these records."""
        known = list(records)
        return cls(
            frozenset(r.group_id for r in known), frozenset(r.path for r in known), frozenset(r.sha256 for r in known)
        )


@dataclass(frozen=True)
class FoldParts:
    """The images in the parts of one fold; created and checked by ``bench.data.splits.check_split``."""

    fold: str  # for messages: 'fold 0'
    parts: Mapping[PartName, SourceImages]

    def require_disjoint(self) -> None:
        """Raise ``LeakageError`` if a group (and so its images) or the content of an image is in two parts."""
        for a, b in combinations(self.parts, 2):
            one, other = self.parts[a], self.parts[b]
            if groups := one.groups & other.groups:
                raise LeakageError(
                    f"{self.fold}: group {_some(groups)} is in both {a} and {b}; a patient must be in one part only: "
                    "create the split again"
                )
            if content := one.content & other.content:
                raise LeakageError(
                    f"{self.fold}: {len(content)} images of {a} have exact duplicates in {b} with other names/groups "
                    f"(SHA-256 {_some(content)}); set the dataset's on_duplicate to drop, or put both in one group"
                )

    def require(
        self, what: str, source_images: SourceImages, part: PartName, advice: str, *, unlabelled: bool = False
    ) -> None:
        """Raise ``LeakageError`` unless all source images lie in ``part``.

        With ``unlabelled`` they may also be unlabelled images of the fold, for what needs no labels. Empty source
        images are refused, and so are groups and paths that are not in the fold, because their patient is unknown.
        Content that is in no part is new and accepted. The message starts with ``what`` and ends with ``advice``.
        """
        if not (source_images.groups or source_images.paths or source_images.content):
            raise LeakageError(
                f"{self.fold}: {what} does not list its source images, so leakage cannot be excluded: {advice}"
            )
        allowed = {part, UNLABELLED} & set(self.parts) if unlabelled else {part}
        for kind, word in (("groups", "groups"), ("paths", "images"), ("content", "exact duplicates of images")):
            used: frozenset[str] = getattr(source_images, kind)
            for name, other in self.parts.items():
                if name not in allowed and (leaked := used & getattr(other, kind)):
                    raise LeakageError(
                        f"{self.fold}: {what} used {word} of the {name} part: {_some(leaked)}; only the {part} "
                        f"part may be used here: {advice}"
                    )
            known = frozenset().union(*(getattr(self.parts[name], kind) for name in allowed))
            if kind != "content" and (foreign := used - known):
                raise LeakageError(
                    f"{self.fold}: {what} used {word} that are not in this fold: {_some(foreign)}; only the "
                    f"{part} part may be used here: {advice}"
                )

    def with_content(self, content: Mapping[PartName, Iterable[str]]) -> FoldParts:
        """Return fold parts with additional content hashes, such as ``pixel_sums``."""
        parts = {p: replace(o, content=o.content | frozenset(content.get(p, ()))) for p, o in self.parts.items()}
        return replace(self, parts=parts)


@dataclass(frozen=True)
class FittedStatistics:
    """Numbers fitted on images (thresholds, filters, normalisation constants), with their source images.

    Read the values through ``for_fold``, which refuses values fitted on held-out images.
    """

    what: str  # for messages: 'the memorisation threshold'
    values: Mapping[str, Any] = field(repr=False)  # plain numbers, or lists of them
    source_images: SourceImages = field(repr=False)

    def for_fold(self, fold_parts: FoldParts, *, unlabelled: bool = False) -> Mapping[str, Any]:
        """Return the values, or raise ``LeakageError`` unless they were fitted on the fold's training part only.

        With ``unlabelled`` its unlabelled images are allowed too.
        """
        check_statistics(self, fold_parts, unlabelled=unlabelled)
        return self.values

    def save(self, path: Path) -> None:
        """Write values and groups as JSON. A group is never divided between parts, so groups suffice for the checks."""
        stored = {"what": self.what, "values": dict(self.values), "groups": sorted(self.source_images.groups)}
        write_atomic(path, json.dumps(stored, indent=1, ensure_ascii=False) + "\n")

    @classmethod
    def load(cls, path: Path) -> FittedStatistics:
        """Read what ``save`` wrote. Raises ``DataError``."""
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
            source_images = SourceImages(groups=frozenset(str(g) for g in stored["groups"]))
            return cls(str(stored["what"]), dict(stored["values"]), source_images)
        except (OSError, ValueError, KeyError, TypeError) as e:
            raise DataError(f"{path} has no fitted statistics ({type(e).__name__}: {e}); run its cell again") from e


def check_statistics(statistics: FittedStatistics, fold_parts: FoldParts, *, unlabelled: bool = False) -> None:
    """Raise ``LeakageError`` unless the statistics were fitted only on images of the fold's training part.

    With ``unlabelled`` its unlabelled images are allowed too.
    """
    advice = "fit it on this fold's training images"
    fold_parts.require(statistics.what, statistics.source_images, "train", advice, unlabelled=unlabelled)


def pixel_sums(images: Iterable[npt.NDArray[np.uint8]]) -> list[str]:
    """Return the SHA-256 (hex) of the pixels of each image, uint8 [H, W, 3]; equal sums are equal images."""
    return [hashlib.sha256(f"{image.shape}".encode() + image.tobytes()).hexdigest() for image in images]


def _some(names: Iterable[str]) -> str:
    """Name up to three, and count the rest."""
    known = sorted(names)
    return ", ".join(map(repr, known[:3])) + (f" and {len(known) - 3} more" if len(known) > 3 else "")
