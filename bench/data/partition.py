"""Division of whole groups into parts of given shares, balanced in the images of every class at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]  # [groups, classes], images
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
LACKING = 100.0  # a part that lacks a class costs more than any imbalance
SWAPS_UP_TO = 200  # number of groups; above it single moves balance well enough, and there would be millions of pairs


def partition(
    counts: Counts, shares: Floats, rng: np.random.Generator, *, min_groups: Sequence[int], tolerance: float = 0.0
) -> Ints:
    """Return the part of each group, int64 [G], so that part p gets about ``shares[p]`` of every class's images.

    ``min_groups[p]`` groups of every class in part p have priority over balance. Groups are first placed where they are
    needed most, larger ones preferably first; single moves and swaps then improve the result until none helps. With a
    ``tolerance`` the search starts from a random draw instead and stops as soon as every share is met within it: nearly
    a random draw.
    """
    balance = _Balance(counts, shares, np.asarray(min_groups))
    if tolerance:
        balance.place(rng.choice(len(shares), size=len(counts), p=shares / shares.sum()))
    else:
        balance.place_greedily(rng)
    for _ in range(10 * len(counts)):
        if tolerance and balance.within(tolerance):
            break
        changes = balance.best_change()
        if not changes:
            break
        balance.apply(changes)
    return balance.part


class _Balance:
    """An assignment of groups to parts, and its cost.

        cost = Σ_parts Σ_classes (share of images − target share)² + LACKING · missing groups

    Features of a group, [2C]: its share of each class's images, then 1 for each class that it has. Features of a part
    are the sums over its groups.
    """

    def __init__(self, counts: Counts, shares: Floats, least: Ints) -> None:
        self.shares, self.least = shares, least
        self.classes = counts.shape[1]
        self.features = np.concatenate([counts / counts.sum(axis=0), counts > 0], axis=1).astype(np.float64)
        self.part: Ints = np.zeros(len(counts), dtype=np.int64)
        self.totals = np.zeros((len(shares), 2 * self.classes))

    def cost(self, totals: Floats, part: Ints) -> Floats:
        """Return the cost [...] of parts [...] with the features [..., 2C]."""
        gap = totals[..., : self.classes] - self.shares.take(part)[..., None]
        lacking = np.maximum(0, self.least.take(part)[..., None] - totals[..., self.classes :])
        return (gap**2).sum(-1) + LACKING * lacking.sum(-1)

    def place(self, part: Ints) -> None:
        self.part = part.astype(np.int64)
        np.add.at(self.totals, self.part, self.features)

    def place_greedily(self, rng: np.random.Generator) -> None:
        size = self.features[:, : self.classes].sum(axis=1)
        every = np.arange(len(self.shares))
        now = self.cost(self.totals, every)
        for g in np.argsort(-size * np.exp(rng.normal(0, 0.5, len(size))), kind="stable"):
            then = self.cost(self.totals + self.features[g], every)
            gain = then - now
            best = (gain <= gain.min() + 1e-12).nonzero()[0]
            p = self.part[g] = best[0] if len(best) == 1 else rng.choice(best)  # a choice of one draws no number
            self.totals[p] += self.features[g]
            now[p] = then[p]

    def within(self, tolerance: float) -> bool:
        gap = np.abs(self.totals[:, : self.classes] - self.shares[:, None])
        lacking = self.totals[:, self.classes :] < self.least[:, None]
        return bool(gap.max() <= tolerance and not lacking.any())

    def best_change(self) -> list[tuple[int, int]]:
        """Return [(group, new part)] of the move or swap that lowers the cost most; empty if none does."""
        now = self.cost(self.totals, np.arange(len(self.shares)))
        move = self._move_gains(now)
        g, p = np.unravel_index(move.argmin(), move.shape)
        swap = self._swap_gains(now) if len(self.part) <= SWAPS_UP_TO else np.zeros((1, 1))
        a, b = np.unravel_index(swap.argmin(), swap.shape)
        if min(move[g, p], swap[a, b]) > -1e-9:
            return []
        if move[g, p] <= swap[a, b]:
            return [(int(g), int(p))]
        return [(int(a), int(self.part[b])), (int(b), int(self.part[a]))]

    def apply(self, changes: list[tuple[int, int]]) -> None:
        for group, target in changes:
            self.totals[self.part[group]] -= self.features[group]
            self.totals[target] += self.features[group]
            self.part[group] = target

    def _move_gains(self, now: Floats) -> Floats:
        """Return the change of cost [G, P] when a group moves to a part."""
        leave = self.cost(self.totals[self.part] - self.features, self.part) - now[self.part]
        every = np.arange(len(self.shares))[None]
        enter = self.cost(self.totals[None] + self.features[:, None], every) - now
        gain = leave[:, None] + enter
        gain[np.arange(len(self.part)), self.part] = 0
        return gain

    def _swap_gains(self, now: Floats) -> Floats:
        """Return the change of cost [G, G] when two groups change places."""
        exchanged = self.totals[self.part][:, None] - self.features[:, None] + self.features[None]
        one_side = self.cost(exchanged, self.part[:, None]) - now[self.part][:, None]
        gain = one_side + one_side.T
        gain[self.part[:, None] == self.part[None]] = 0
        return gain
