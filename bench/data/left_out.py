"""Files of a data set that are not used, and how its pixels are read, one line each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from bench.data.examine import CONVERSIONS
from bench.data.tables import NOTES
from bench.types import Conversion, DataProblem, DatasetIndex, SkippedFiles

MOST_NAMED = 3  # maximum number of images named per kind of problem
MOST_KINDS = 6  # maximum number of kinds of skipped files named in one line
KEPT = ("group_with_two_labels", "known_layout", *NOTES)  # problems of images that are used nevertheless


def data_lines(index: DatasetIndex) -> list[str]:
    """Return how the pixels of an index are scaled (if at all) and which files of its folder are not used."""
    window = index.pixels.window
    scaled = []
    if window:
        scaled = [
            f"pixels: grey values {window.low:g} to {window.high:g} become 0 to 255 in images of more than 8 bits "
            f"({window.how})"
        ]
    return [*scaled, *map(conversion_line, index.conversions), *summaries(index.problems, index.skipped)]


def conversion_line(c: Conversion) -> str:
    """Return what reading changed in some images, with their number and an example."""
    many = f"{c.count:,} images, such as {c.example}, are" if c.count > 1 else f"{c.example} is"
    return f"pixels: {many} {CONVERSIONS[c.kind]}"


def summaries(problems: Sequence[DataProblem], skipped: Sequence[SkippedFiles]) -> list[str]:
    """Return one line per kind of problem with its first images, and one line for all skipped files.

    The reason shown is that of the first image.
    """
    kinds: defaultdict[str, list[DataProblem]] = defaultdict(list)
    for problem in problems:
        kinds[problem.kind].append(problem)
    lines = []
    for kind, found in kinds.items():
        many = f"{len(found):,} images, such as " if len(found) > 1 else ""
        lines.append(f"{kind}: {many}{', '.join(p.path for p in found[:MOST_NAMED])}: {found[0].detail}")
    return [*lines, *([skipped_line(skipped)] if skipped else [])]


def skipped_line(skipped: Sequence[SkippedFiles]) -> str:
    """Return how many files of each kind are not read as images, with an example of each."""
    named = [f"{s.count:,} {s.kind} (such as {s.example})" for s in skipped[:MOST_KINDS]]
    if rest := sum(s.count for s in skipped[MOST_KINDS:]):
        named.append(f"{rest:,} others")
    return f"files not used: {', '.join(named)}"


def losses(index: DatasetIndex) -> str:
    """Return what was excluded from an index, one line each, as a prefix for an error message; '' if nothing."""
    lines = summaries([p for p in index.problems if p.kind not in KEPT], index.skipped)
    return "".join([f"left out of {index.name}:\n", *(f"  {line}\n" for line in lines)]) if lines else ""
