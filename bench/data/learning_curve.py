"""The split protocol of learning curves: disjoint training sets of several sizes, and one common test part.

From P patients (groups), R training sets of ``max(train_patients)`` patients are drawn that share no patient. A smaller
size takes the first patients of each set, so the set of 20 lies within the set of 40. All sets of a size have the same
number of patients of every class: the data set's own prevalence, or equal numbers (``balanced``). Groups with images of
several classes are stratified by which classes they have, and by the shares of these. Validation patients lie inside
each set, and a patient that validates in a small set validates in the larger ones.

The draw is one random order of the patients of every stratum. Sets are taken from its front, set after set, and a test
part of ``test_patients`` from its back. So set r is the same for any number of sets, as is a test part of fixed size:
more sets later change no training. Without ``test_patients``, all patients outside the sets are tested, and more sets
leave fewer of them. Only another largest size, another number of unlabelled patients or another seed draws other sets.

``unlabelled_patients`` are drawn for each set after its patients, and shared with no other set, so that sets remain
independent. They are the same at every size of a set, and never tested.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bench.data.left_out import losses
from bench.data.partition import Counts
from bench.data.split_config import LEARNING_CURVE, PER_CLASS, SplitConfig
from bench.errors import ConfigError, DataError
from bench.leakage import PartName
from bench.seeding import derive_seed
from bench.types import DatasetIndex

HALVED = 8  # groups with the same classes, from which on they are stratified by the shares of their classes
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class DrawnSet:
    """One training set: its number, its size in patients, and the part of each of its groups and the test groups."""

    fold: int
    train_patients: int
    part_of: dict[str, PartName]


def draw_sets(index: DatasetIndex, config: SplitConfig, names: Sequence[str], counts: Counts) -> Iterator[DrawnSet]:
    """Yield the training sets, sizes within sets. ``names`` and ``counts`` [G, C] are those of ``group_counts``.

    Raises ``DataError``, with the number of sets of each size that is possible, when there are too few groups.
    """
    design = _Design(index, config, counts)
    design.check()
    tested: dict[str, PartName] = {names[g]: "test" for g in design.tested()}
    for fold in range(config.sets):
        groups, largest = design.set_groups(fold), config.train_patients[-1]
        part = _validation(counts[groups[:largest]] > 0, design.order[:largest], config.validation_fraction)
        unlabelled: dict[str, PartName] = {names[g]: "unlabelled" for g in groups[largest:]}
        for size in config.train_patients:
            parts = {names[g]: p for g, p in zip(groups[:size], part[:size], strict=True)}
            yield DrawnSet(fold, size, tested | parts | unlabelled)


class _Design:
    """The strata of the groups, a random order within each, and the numbers of each that sets and test part take."""

    def __init__(self, index: DatasetIndex, config: SplitConfig, counts: Counts) -> None:
        self.index, self.config, self.has = index, config, counts > 0
        stratum = _strata(counts)
        rng = np.random.default_rng(derive_seed("split", config.seed, LEARNING_CURVE))
        self.queues = [rng.permutation(np.flatnonzero(stratum == s)) for s in range(stratum.max() + 1)]
        self.available = np.array([len(q) for q in self.queues])
        self.shares = self.available / len(counts)
        if config.balanced:
            if (self.has.sum(axis=1) > 1).any():
                raise ConfigError(
                    f"split.balanced: groups of {index.name} have images of several classes, so a set with equal "
                    "numbers of groups of each class is not defined; expected balanced: false"
                )
            self.shares = np.full(len(self.queues), 1 / len(self.queues))
        # Strata of a set's groups, for every set; the unlabelled ones are last.
        self.order = _sequence(self.shares, config.train_patients[-1] + config.unlabelled_patients)
        self.of_classes = np.array([self.has[q[0]] for q in self.queues])  # [strata, C]: the classes of its groups

    def taken(self, size: int) -> Ints:
        """Return the groups of each stratum in a set of ``size`` groups, int64 [strata]."""
        return np.bincount(_sequence(self.shares, size), minlength=len(self.queues))

    def test_taken(self) -> Ints:
        """Return the groups of each stratum that are reserved for the test part."""
        wanted = self.config.test_patients
        if wanted is None:
            return np.zeros(len(self.queues), dtype=np.int64)
        return np.bincount(_sequence(self.available / self.available.sum(), wanted), minlength=len(self.queues))

    def possible(self, size: int) -> int:
        """Return how many disjoint sets of ``size`` groups there can be, with a test part of every class; 0: none."""
        labelled, reserved = self.taken(size), self.test_taken()
        taken = self.taken(size + self.config.unlabelled_patients)
        if (labelled @ self.of_classes < PER_CLASS).any():
            return 0
        if self.config.test_patients is not None and (reserved @ self.of_classes < PER_CLASS).any():
            return 0
        sets = 0
        while True:
            left = self.available - (sets + 1) * taken - reserved
            if (left < 0).any() or ((left + reserved) @ self.of_classes < PER_CLASS).any():
                return sets
            sets += 1

    def check(self) -> None:
        """Raise ``DataError`` unless the sets and the test part can be drawn."""
        c, smallest = self.config, self.config.train_patients[0]
        in_set = self.taken(smallest) @ self.of_classes
        if self.possible(c.train_patients[-1]) >= c.sets and (in_set >= PER_CLASS).all():
            return
        names = self.index.classes
        have = ", ".join(f"{c} {n}" for c, n in zip(names, self.has.sum(axis=0), strict=True))
        tested = "all others" if c.test_patients is None else f"{c.test_patients} others"
        sizes = ", ".join(f"{self.possible(n)} sets of {n}" for n in c.train_patients)
        short = [f"{name} has {n}" for name, n in zip(names, in_set, strict=True) if n < PER_CLASS]
        why = f" A set of {smallest} needs {PER_CLASS} patients of each class ({'; '.join(short)})." if short else ""
        more = f" and {c.unlabelled_patients} unlabelled ones each" if c.unlabelled_patients else ""
        fewer = "fewer split.unlabelled_patients, " if c.unlabelled_patients else ""
        balance = "" if c.balanced else "split.balanced=true, "
        advice = f"fewer split.replicates, a smaller largest size, {fewer}{balance}"
        raise DataError(
            f"{losses(self.index)}{self.index.name}: {c.sets} disjoint training sets of {c.train_patients[-1]} groups "
            f"(patients){more} and a test part of {tested} are not possible with {len(self.has)} groups ({have}). If "
            f"this is the largest size, possible are: {sizes}.{why} What to do: {advice}or take more data"
        )

    def set_groups(self, fold: int) -> Ints:
        """Return the groups of a set in the order of ``order``, int64 [largest size + unlabelled patients]."""
        taken = np.bincount(self.order, minlength=len(self.queues))
        queues = [iter(q[fold * n : (fold + 1) * n]) for q, n in zip(self.queues, taken, strict=True)]
        return np.array([next(queues[s]) for s in self.order], dtype=np.int64)

    def tested(self) -> Ints:
        """Return the groups of the common test part."""
        taken = np.bincount(self.order, minlength=len(self.queues)) * self.config.sets
        if self.config.test_patients is None:
            return np.concatenate([q[n:] for q, n in zip(self.queues, taken, strict=True)])
        return np.concatenate([q[len(q) - n :] for q, n in zip(self.queues, self.test_taken(), strict=True)])


def _strata(counts: Counts) -> Ints:
    """Return the stratum of each group, int64 [G]: the classes that it has; of groups of several, two halves by share.

    The halves are of the share of images of the last of its classes.
    """
    patterns, stratum = np.unique(counts > 0, axis=0, return_inverse=True)
    stratum = stratum.reshape(-1).astype(np.int64) * 2
    for s, pattern in enumerate(patterns):
        inside = np.flatnonzero(stratum == 2 * s)
        if pattern.sum() > 1 and len(inside) >= HALVED:
            share = counts[inside, np.flatnonzero(pattern)[-1]] / counts[inside].sum(axis=1)
            stratum[inside[np.argsort(share, kind="stable")[len(inside) // 2 :]]] += 1
    found: Ints = np.unique(stratum, return_inverse=True)[1].reshape(-1).astype(np.int64)
    return found


def _sequence(shares: npt.NDArray[np.float64], n: int) -> Ints:
    """Return n strata, int64 [n], of which every first k contain each stratum about k times its share."""
    taken, found = np.zeros(len(shares)), np.zeros(n, dtype=np.int64)
    for k in range(n):
        found[k] = np.argmax(np.round(shares * (k + 1) - taken, 9))
        taken[found[k]] += 1
    return found


def _validation(has: npt.NDArray[np.bool_], stratum: Ints, fraction: float) -> list[PartName]:
    """Return 'train' or 'validation' for each group of a set [G], the same for any later groups.

    ``has`` [G, C] are the classes of each. Both parts get every class as early as possible; then each stratum, and all
    groups together, are divided by ``fraction``.
    """
    part: list[PartName] = []
    seen = {"train": np.zeros(has.shape[1], dtype=bool), "validation": np.zeros(has.shape[1], dtype=bool)}
    features = np.concatenate([np.eye(stratum.max() + 1)[stratum], np.ones((len(stratum), 1))], axis=1)
    total, validating = np.zeros(features.shape[1]), np.zeros(features.shape[1])
    for classes, feature in zip(has, features, strict=True):
        total += feature
        gain = ((validating + feature - fraction * total) ** 2 - (validating - fraction * total) ** 2).sum()
        name: PartName = "validation" if gain < 0 or (classes & ~seen["validation"]).any() else "train"
        if (classes & ~seen["train"]).any():
            name = "train"
        seen[name] |= classes
        validating += feature * (name == "validation")
        part.append(name)
    return part
