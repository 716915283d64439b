"""The data and the rules for its use: classes, folds, file problems, near duplicates, leakage checks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench.analysis.info import FoldSize, ReportInfo
from bench.analysis.report import Records
from bench.leakage import PARTS, UNLABELLED
from bench.report.content import Block, Section, Table, listed
from bench.report.text import literal


def sections(_: Records, info: ReportInfo) -> Iterator[Section]:
    """Yield tables and a list; nothing if nothing is known about the data."""
    blocks: list[Block] = []
    if info.data.classes:
        rows = [[literal(c.name), str(c.images), str(c.groups)] for c in info.data.classes]
        blocks.append(Table.of(["Class", "Images", info.data.groups.capitalize()], rows, title="Classes"))
    if info.folds:
        parts = (*PARTS, UNLABELLED) if any(f.unlabelled_images for f in info.folds) else PARTS
        rows = [[p, _range(info.folds, f"{p}_images"), _range(info.folds, f"{p}_groups")] for p in parts]
        blocks.append(Table.of(["Part of a fold", "Images", info.data.groups.capitalize()], rows, title="Fold parts"))
    problems = [f"{kind.replace('_', ' ')} {n}" for kind, n in sorted(info.data.problems.items())]
    facts = {
        "File problems": ", ".join(problems),
        "Near duplicates": literal(info.data.near_copies),
        "Leakage checks": leakage_checks(info),
    }
    blocks += [listed({head: text for head, text in facts.items() if text})] if blocks else []
    yield Section("Data", tuple(blocks), 800)


def leakage_checks(info: ReportInfo) -> str:
    """Return which kinds of leakage the harness refuses, for any suite."""
    one = info.data.groups.removesuffix("s")
    shared = sum(f.unit == "image" for f in info.folds)
    if shared:
        return (
            f"**{info.data.groups} are shared** by the fold parts of {shared} of {len(info.folds)} splits, which are "
            f"drawn image by image as published (no image is in two parts). In the other splits no {one} is in two "
            "parts. A generator is used and evaluated only if it was trained on none of the test images, or test "
            f"{info.data.groups}, of its split."
        )
    return (
        f"{one}-disjoint (no {one} and no image is in two parts of a fold) and generator-aware (a training set is "
        f"refused if its generator, or a statistic fitted on images, was fitted on a held-out {one})."
    )


def _range(folds: Sequence[FoldSize], field: str) -> str:
    """'158 to 162': the minimum and maximum over folds."""
    values = [getattr(f, field) for f in folds]
    return str(min(values)) if min(values) == max(values) else f"{min(values)} to {max(values)}"
