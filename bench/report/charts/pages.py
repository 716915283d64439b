"""Split charts of many arms and classifiers into pages, one figure each."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from bench.analysis.lines import Line
from bench.suite.arms import Arm

PANELS, ROWS = 3, 40  # classifiers side by side, and arms below each other, in one figure
MOST = 4  # pages of one chart; the tables show the rest
T = TypeVar("T")


@dataclass(frozen=True)
class Page:
    """Content of one figure: lines by classifier and arm (some may be missing), its number, and the total."""

    classifiers: tuple[str, ...]
    arms: tuple[Arm, ...]
    lines: Mapping[tuple[str, Arm], Line]
    number: int = 1
    of: int = 1

    def panel(self, classifier: str) -> dict[Arm, Line]:
        """Return the page's lines of one classifier, in the order of its arms."""
        return {a: self.lines[classifier, a] for a in self.arms if (classifier, a) in self.lines}


def pages(lines: Sequence[Line], rows: int = ROWS) -> list[Page]:
    """Split lines into at most ``MOST`` pages of at most ``PANELS`` classifiers and ``rows`` arms, evenly filled."""
    found = {(x.classifier, x.arm): x for x in lines}
    arms = list(dict.fromkeys(x.arm for x in lines))
    classifiers = list(dict.fromkeys(x.classifier for x in lines))
    cuts = [(tuple(c), tuple(a)) for c in even(classifiers, PANELS) for a in even(arms, rows)]
    return [Page(c, a, found, i, len(cuts)) for i, (c, a) in enumerate(cuts[:MOST], start=1)]


def even(items: Sequence[T], most: int) -> Iterator[Sequence[T]]:
    """Yield consecutive parts of at most ``most`` items, with lengths that differ by at most one."""
    count = math.ceil(len(items) / most)
    for i in range(count):
        yield items[i * len(items) // count : (i + 1) * len(items) // count]


def draw_cuts(
    name: str, cuts: Mapping[str, T], caption: str, draw: Callable[[T, Path], None], out: Path
) -> dict[str, str]:
    """Draw one figure for each non-empty part (name -> data), at most ``MOST``; return captions by path.

    The first has the caption, the others name their content, the last also names the omitted parts.
    """
    found = {what: data for what, data in cuts.items() if data}
    drawn = {}
    for number, (what, data) in enumerate(list(found.items())[:MOST], start=1):
        path = numbered(f"charts/{name}", number)
        draw(data, out / path)
        drawn[path] = caption if number == 1 else f"Continued: {what}."
        if number == MOST < len(found):
            drawn[path] += f" Not drawn: {'; '.join(list(found)[MOST:])}."
    return drawn


def numbered(name: str, number: int) -> str:
    """Return the path of the n-th figure of one kind: 'charts/forest.png', 'charts/forest_2.png', …"""
    return f"{name}.png" if number == 1 else f"{name}_{number}.png"


def wrapped(name: str, width: int) -> str:
    """Break a name at its underscores and spaces so that no line is longer than ``width``, where that is possible."""
    lines = [""]
    for part in name.replace("_", "_\x00").replace(" ", " \x00").split("\x00"):
        if lines[-1] and len((lines[-1] + part).rstrip()) > width:
            lines.append("")
        lines[-1] += part
    return "\n".join(line.rstrip() for line in lines)
