"""The Pareto front of cost and score."""

from __future__ import annotations

from collections.abc import Iterable


def pareto(points: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the (cost, score) points that are not dominated: sorted by cost, scores strictly increasing."""
    front: list[tuple[float, float]] = []
    for cost, score in sorted(points, key=lambda p: (p[0], -p[1])):
        if not front or score > front[-1][1]:
            front.append((cost, score))
    return front
