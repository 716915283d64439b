"""What a thing was made from, and which fold may use it: the one place where leakage is judged.

A fold's borders say which of its three parts every group (patient), image and content belongs to; an origin says what
a thing was made from: a training set, a synthetic set (through its generator), a validation set, fitted statistics. A
thing may be used for a fold only if its whole origin lies in the part that it is used as. Everything that trains or
chooses asks here, so a generator, a threshold or a normalisation constant is held to the same rule as an image.
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

PartName = Literal["train", "validation", "test"]
PARTS: tuple[PartName, ...] = ("train", "validation", "test")


@dataclass(frozen=True)
class SourceImages:
    """The real images behind a thing, as far as they are known.

    ``groups`` and ``paths`` are those of ``ImageRecord``; ``content`` holds SHA-256 sums (hex) of files and, where they
    were asked for, of pixels (``pixel_sums``).
    """

    groups: frozenset[str] = frozenset()
    paths: frozenset[str] = frozenset()
    content: frozenset[str] = frozenset()

    @classmethod
    def of(cls, records: Iterable[ImageRecord]) -> SourceImages:
        """Return the origin of a thing made from all of these images."""
        known = list(records)
        return cls(
            frozenset(r.group_id for r in known), frozenset(r.path for r in known), frozenset(r.sha256 for r in known)
        )


@dataclass(frozen=True)
class FoldParts:
    """What the three parts of one fold are made of; ``bench.data.splits.check_split`` makes and checks them."""

    fold: str  # for messages: 'fold 0'
    parts: Mapping[PartName, SourceImages]

    def require_disjoint(self) -> None:
        """Raise ``LeakageError`` when a group (so, an image too) or the content of an image is in two parts."""
        for a, b in combinations(PARTS, 2):
            one, other = self.parts[a], self.parts[b]
            if groups := one.groups & other.groups:
                raise LeakageError(
                    f"{self.fold}: group {_some(groups)} is in both {a} and {b}; a patient must be in one part only: "
                    "draw the split again"
                )
            if content := one.content & other.content:
                raise LeakageError(
                    f"{self.fold}: {len(content)} images of {a} have exact copies in {b}, under other names or groups "
                    f"(SHA-256 {_some(content)}); set the dataset's on_duplicate to drop, or put both in one group"
                )

    def require(self, what: str, source_images: SourceImages, part: PartName, advice: str) -> None:
        """Raise ``LeakageError`` unless all of the origin lies in ``part``.

        An origin of nothing is refused, and so is a group or path that the fold does not know: nobody can say whose it
        is. Content that no part has is new, and is admitted. ``what`` begins the message, ``advice`` ends it.
        """
        if not (source_images.groups or source_images.paths or source_images.content):
            raise LeakageError(
                f"{self.fold}: {what} does not say which images it drew on, so it cannot be trusted: {advice}"
            )
        for kind, word in (("groups", "groups"), ("paths", "images"), ("content", "exact copies of images")):
            used: frozenset[str] = getattr(source_images, kind)
            for name, other in self.parts.items():
                if name != part and (leaked := used & getattr(other, kind)):
                    raise LeakageError(
                        f"{self.fold}: {what} drew on {word} of the {name} part: {_some(leaked)}; only the {part} "
                        f"part may be used here: {advice}"
                    )
            if kind != "content" and (foreign := used - getattr(self.parts[part], kind)):
                raise LeakageError(
                    f"{self.fold}: {what} drew on {word} that this fold does not know: {_some(foreign)}; only the "
                    f"{part} part may be used here: {advice}"
                )

    def with_content(self, content: Mapping[PartName, Iterable[str]]) -> FoldParts:
        """Return borders that know more content of their parts, such as ``pixel_sums``."""
        parts = {p: replace(o, content=o.content | frozenset(content.get(p, ()))) for p, o in self.parts.items()}
        return replace(self, parts=parts)


@dataclass(frozen=True)
class FittedStatistics:
    """Numbers fitted on images (thresholds, filters, normalisation constants), and on which images.

    ``for_fold`` is the way to the values: it refuses those that held-out images have helped to fit.
    """

    what: str  # for messages: 'the copy threshold'
    values: Mapping[str, Any] = field(repr=False)  # plain numbers, or lists of them
    source_images: SourceImages = field(repr=False)

    def for_fold(self, fold_parts: FoldParts) -> Mapping[str, Any]:
        """Return the values, or raise ``LeakageError`` unless they were fitted on the fold's training part only."""
        check_statistics(self, fold_parts)
        return self.values

    def save(self, path: Path) -> None:
        """Write values and groups as JSON. (A group is whole in one part, so groups tell all that must be checked.)"""
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
            raise DataError(f"{path} holds no fitted statistics ({type(e).__name__}: {e}); run its cell again") from e


def check_statistics(statistics: FittedStatistics, fold_parts: FoldParts) -> None:
    """Raise ``LeakageError`` unless the statistics were fitted on images of the fold's training part, all of them."""
    fold_parts.require(statistics.what, statistics.source_images, "train", "fit it on this fold's training images")


def pixel_sums(images: Iterable[npt.NDArray[np.uint8]]) -> list[str]:
    """Return the SHA-256 (hex) of the pixels of each image, uint8 [H, W, 3]; equal sums are equal images."""
    return [hashlib.sha256(f"{image.shape}".encode() + image.tobytes()).hexdigest() for image in images]


def _some(names: Iterable[str]) -> str:
    """Name up to three, and count the rest."""
    known = sorted(names)
    return ", ".join(map(repr, known[:3])) + (f" and {len(known) - 3} more" if len(known) > 3 else "")
