"""Select the images of a rating study: balanced, and without showing a picture of the data set twice.

A rater who sees a real image and its translation, or two translations of one picture, is not blinded, and their answers
are not independent.
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
    """An image that may be selected; ``load`` returns its pixels (a PIL image, RGB, of any size).

    ``picture`` is the data-set image that it shows, original or translated; '' for one generated from noise.
    """

    source: str
    label: int
    fold: int
    repeat: int
    copied_from: str
    picture: str
    load: Callable[[], Any]

    @property
    def at(self) -> Fold:
        """Its (fold, repeat)."""
        return self.fold, self.repeat

    @property
    def shows(self) -> str:
        """The picture that no other image of a study should show."""
        return self.picture or f"\x1f{self.copied_from}"


class _Place(NamedTuple):
    """A place to fill with one of a source's candidates of a class, preferably of the fold ``at``."""

    pool: Sequence[Candidate]
    at: Fold


def choose(sources: Sequence[Sequence[Candidate]], n: int, classes: tuple[str, ...], seed: int) -> list[Candidate]:
    """Return n candidates of each source: balanced over classes, no picture twice, balanced over folds.

    The criteria have this priority: if there are too few pictures, as few as possible are repeated; folds are
    unbalanced only if this avoids a repeat. Raises ``ConfigError`` if a class has too few images.
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
                    "use a smaller --per-method"
                )
            turns = _by_turns(pool, seed)
            if any(c.picture for c in turns):
                places += [_Place(turns, c.at) for c in turns[:wanted]]
            else:
                chosen += turns[:wanted]
    return chosen + (_assigned(places, np.random.default_rng(derive_seed("rate", seed, "pictures"))) if places else [])


def repeats(chosen: Sequence[Candidate]) -> int:
    """Return the number of images that show the same picture as an earlier one."""
    return len(chosen) - len({c.shows for c in chosen})


def _by_turns(pool: Sequence[Candidate], seed: int) -> list[Candidate]:
    """Return the shuffled candidates of one source and class, alternating between folds."""
    folds: dict[Fold, list[Candidate]] = {}
    for c in pool:
        folds.setdefault(c.at, []).append(c)
    for at, of_fold in folds.items():
        random.Random(derive_seed("rate", seed, of_fold[0].source, of_fold[0].label, *at)).shuffle(of_fold)
    return [c for turn in zip_longest(*folds.values()) for c in turn if c is not None]


def _assigned(places: Sequence[_Place], rng: np.random.Generator) -> list[Candidate]:
    """Return a candidate for each place with the fewest repeated pictures; ties are broken at random.

    Places and pictures are matched at minimum cost (assignment problem): 0 for a picture of the place's fold, 1 for
    another fold, and, for no picture (a repeat), more than the sum of all fold costs.
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
    cost += rng.random(cost.shape) / (2 * n)  # random tie break; the sum is below 1
    matched = linear_sum_assignment(cost)[1]
    return _taken(places, [int(i) if i < len(column) else None for i in matched], column)


def _taken(places: Sequence[_Place], matched: Sequence[int | None], column: dict[str, int]) -> list[Candidate]:
    """Return the candidates with the matched pictures; places without one repeat the least shown picture."""
    found: dict[int, Candidate] = {}
    taken: set[str] = set()
    shown: Counter[str] = Counter()
    for i in sorted(range(len(places)), key=lambda i: matched[i] is None):
        pool, at = places[i]
        free = [c for c in pool if c.copied_from not in taken and matched[i] in (None, column[c.shows])]
        found[i] = min(free, key=lambda c: (shown[c.shows], c.at != at))
        taken.add(found[i].copied_from)
        shown[found[i].shows] += 1
    return [found[i] for i in range(len(places))]
