"""Candidates for ``group_regex``: which part of a path names the patient, judged by the groups that it gives.

A candidate must find a group in every image. It is rejected if it tells nothing (every image its own group, unless the
name says what it is), if one group holds much of the set, or if a class has few groups: then it found a camera, a
folder of a class or a study instead of a patient. Several candidates with the same groups count once.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from statistics import median

FEWEST_GROUPS, LARGEST_SHARE = 4, 0.25  # groups of each class; share of the images in one group
_NAMED = "(?i:patient|person|subject|subj|sub|pat|pt|case|donor|lesion|slide|specimen)"
_EXPLICIT = ("a word such as patient, with its number", "the text before a double underscore")
PATTERNS = {  # what it is -> expression; the first that fits is proposed
    _EXPLICIT[0]: rf"(?<![A-Za-z])(?P<group>{_NAMED}[ _-]?\d+)",
    _EXPLICIT[1]: r"(?:^|/)(?P<group>[^/]+?)__[^/]*$",
    "the number between a word and the number of the image": (
        r"(?:^|/)[A-Za-z]+[ _-](?P<group>\d{3,})[ _-]\d+\.[^/.]+$"  # the word may be the class
    ),
    "the number before left or right": (
        r"(?:^|[/ _-])(?P<group>[A-Za-z]*_?\d+)[ _-]?(?:(?i:left|right|od|os)|[LR])(?![A-Za-z0-9])[^/]*$"
    ),
    "the folder of the image": r"/(?P<group>[^/]+)/[^/]+$",
    "a word such as patient with its number, else the last word with the number after it": (
        rf"(?:^|/)(?P<group>{_NAMED}[ _-]?\d+|[^/]*[A-Za-z][ _-]?\d+)[^/]*$"
    ),
    "the first capital letter with its number": r"(?:^|/)[A-Za-z]*?(?P<group>[A-Z]\d+)[^/]*$",
    "the text before the first separator": r"(?:^|/)(?P<group>[^/ _-]+)[ _-][^/]*$",
    "the text before the last number": r"(?:^|/)(?P<group>[^/]+)[ _-]\d+\.[^/.]+$",
}


@dataclass(frozen=True)
class GroupPattern:
    """A candidate: the expression, what it takes, and the images of each group by path."""

    regex: str
    what: str
    images: Mapping[str, tuple[str, ...]]

    @property
    def words(self) -> str:
        """What groups it gives: how many, with how many images, and three examples."""
        sizes = [len(paths) for paths in self.images.values()]
        each = (
            f"{min(sizes)} to {max(sizes)} images each, median {median(sizes):g}" if max(sizes) > 1 else "1 image each"
        )
        shown = sorted(self.images, key=lambda g: (-len(self.images[g]), g))[:3]
        examples = "; ".join(f"{g}: {', '.join(self.images[g][:2])}{', …' * (len(self.images[g]) > 2)}" for g in shown)
        return f"{len(sizes):,} groups, {each}, such as {examples}"


def group_patterns(label_of: Mapping[str, int]) -> list[GroupPattern]:
    """Return the candidates that fit, the best first, from the label of each image by its path."""
    found: list[GroupPattern] = []
    for what, regex in PATTERNS.items():
        groups = _groups(regex, label_of)
        if groups is None or not _fits(groups, label_of, what in _EXPLICIT):
            continue
        if all(set(groups.values()) != set(other.images.values()) for other in found):
            found.append(GroupPattern(regex, what, groups))
    return found


def _groups(regex: str, paths: Iterable[str]) -> dict[str, tuple[str, ...]] | None:
    """Return the images of each group; None if an image has none."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for path in sorted(paths):
        match = re.search(regex, path)
        if not match:
            return None
        found[match["group"]].append(path)
    return {group: tuple(images) for group, images in found.items()}


def _fits(groups: Mapping[str, tuple[str, ...]], label_of: Mapping[str, int], explicit: bool) -> bool:
    largest = max(map(len, groups.values()))
    of_class = Counter(label for paths in groups.values() for label in {label_of[p] for p in paths})
    tells = explicit or any(len({PurePosixPath(p).name for p in paths}) > 1 for paths in groups.values())
    return tells and largest <= LARGEST_SHARE * len(label_of) and min(of_class.values()) >= FEWEST_GROUPS
