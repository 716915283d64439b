"""Choose the images of a rating study: evenly, and so that no picture of the data set is shown twice.

A rater who sees a real image beside its own translation, or two translations of one picture, is no longer blind, and
their answers are not independent.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from bench.errors import ConfigError
from bench.seeding import derive_seed

Fold = tuple[int, int]


@dataclass(frozen=True)
class Candidate:
    """An image that may be shown: what it is, and how to get its pixels (a PIL image, RGB, of any size).

    ``picture`` is the data set's image that it shows, itself or translated; '' for one made from noise.
    """

    source: str
    label: int
    fold: int
    repeat: int
    origin: str
    picture: str
    load: Callable[[], Any]

    @property
    def at(self) -> Fold:
        """The fold that it belongs to."""
        return self.fold, self.repeat

    @property
    def shows(self) -> str:
        """What no other image of a study should show."""
        return self.picture or f"\x1f{self.origin}"


class _Place(NamedTuple):
    """A place to fill, with one of a source's candidates of a class, rather of the fold ``at``."""

    pool: Sequence[Candidate]
    at: Fold


def choose(sources: Sequence[Sequence[Candidate]], n: int, classes: tuple[str, ...], seed: int) -> list[Candidate]:
    """Return n candidates of each source: as many of each class, no picture twice, and evenly from the folds.

    That is the order of what counts: where there are too few pictures, the fewest possible are repeated; and a fold
    gives more than another where only so a repeat is avoided. Raises ``ConfigError`` when a class has too few.
    """
    chosen: list[Candidate] = []
    places: list[_Place] = []
    for candidates in sources:
        for label in range(len(classes)):
            wanted = n // len(classes) + (label < n % len(classes))
            pool = [c for c in candidates if c.label == label]
            if len(pool) < wanted:
                raise ConfigError(
                    f"{candidates[0].source} has {len(pool)} images of {classes[label]}, {wanted} are needed; "
                    "take fewer: --per-method"
                )
            turns = _by_turns(pool, seed)
            if any(c.picture for c in turns):
                places += [_Place(turns, c.at) for c in turns[:wanted]]
            else:
                chosen += turns[:wanted]
    return chosen + (_assigned(places, np.random.default_rng(derive_seed("rate", seed, "pictures"))) if places else [])


def repeats(chosen: Sequence[Candidate]) -> int:
    """Return how many images show a picture that another one has shown."""
    return len(chosen) - len({c.shows for c in chosen})


def _by_turns(pool: Sequence[Candidate], seed: int) -> list[Candidate]:
    """Return the candidates of one source and class shuffled, the folds taking turns."""
    folds: dict[Fold, list[Candidate]] = {}
    for c in pool:
        folds.setdefault(c.at, []).append(c)
    for at, of_fold in folds.items():
        random.Random(derive_seed("rate", seed, of_fold[0].source, of_fold[0].label, *at)).shuffle(of_fold)
    return [c for turn in zip_longest(*folds.values()) for c in turn if c is not None]


def _assigned(places: Sequence[_Place], rng: np.random.Generator) -> list[Candidate]:
    """Return a candidate for each place, with as few repeated pictures as can be, drawn at random among the equal.

    Places and pictures are matched at the least cost (an assignment problem): nothing for a picture of the place's own
    fold, 1 for one of another, and for none, so that a picture must be repeated, more than for all folds together.
    """
    from scipy.optimize import linear_sum_assignment

    column = {shown: i for i, shown in enumerate(sorted({c.shows for p in places for c in p.pool}))}
    n = len(places)
    again, never = n + 1, (n + 1) ** 2
    cost = np.full((n, len(column) + n), float(never))
    cost[:, len(column) :] = again
    rows: dict[tuple[int, Fold], npt.NDArray[np.float64]] = {}
    for row, place in zip(cost, places, strict=True):
        key = id(place.pool), place.at
        if key not in rows:
            rows[key] = np.full(len(column), float(never))
            rows[key][[column[c.shows] for c in place.pool]] = 1
            rows[key][[column[c.shows] for c in place.pool if c.at == place.at]] = 0
        row[: len(column)] = rows[key]
    cost += rng.random(cost.shape) / (2 * n)  # among equal ones any; all together less than 1
    matched = linear_sum_assignment(cost)[1]
    return _taken(places, [int(i) if i < len(column) else None for i in matched], column)


def _taken(places: Sequence[_Place], matched: Sequence[int | None], column: dict[str, int]) -> list[Candidate]:
    """Return the candidates that show the matched pictures; for places without one, those that repeat the rarest."""
    found: dict[int, Candidate] = {}
    taken: set[str] = set()
    shown: Counter[str] = Counter()
    for i in sorted(range(len(places)), key=lambda i: matched[i] is None):
        pool, at = places[i]
        free = [c for c in pool if c.origin not in taken and matched[i] in (None, column[c.shows])]
        found[i] = min(free, key=lambda c: (shown[c.shows], c.at != at))
        taken.add(found[i].origin)
        shown[found[i].shows] += 1
    return [found[i] for i in range(len(places))]
