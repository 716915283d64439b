"""The data and the rules it was used by: classes, folds, odd files, near copies, guards."""

from __future__ import annotations

from collections.abc import Sequence

from bench.analysis.info import FoldSize, ReportInfo
from bench.report.text import literal, table

PARTS = ("train", "validation", "test")


def data_section(info: ReportInfo) -> list[str]:
    """Return heading, tables and lines; [] where nothing is known of the data."""
    if not info.data.classes and not info.folds:
        return []
    parts = ["## The data\n"]
    if info.data.classes:
        rows = [[literal(c.name), str(c.images), str(c.groups)] for c in info.data.classes]
        parts.append(table(["Class", "Images", info.data.groups.capitalize()], rows))
    if info.folds:
        rows = [[p, _range(info.folds, f"{p}_images"), _range(info.folds, f"{p}_groups")] for p in PARTS]
        parts.append(table(["Part of a fold", "Images", info.data.groups.capitalize()], rows))
    odd = [f"{kind.replace('_', ' ')} {n}" for kind, n in sorted(info.data.problems.items())]
    facts = {
        "Odd files": ", ".join(odd),
        "Near copies": literal(info.data.near_copies),
        "Guards": guards(info),
    }
    parts.append("".join(f"- **{head}**: {text}\n" for head, text in facts.items() if text))
    return parts


def guards(info: ReportInfo) -> str:
    """Say which leaks were made impossible: the harness refuses them, whatever the suite."""
    one = info.data.groups.removesuffix("s")
    shared = sum(f.unit == "image" for f in info.folds)
    if shared:
        return (
            f"**{info.data.groups} are shared** by the parts of {shared} of {len(info.folds)} splits, drawn image by "
            f"image as was published, where no image is in two parts; in the others no {one} is. A generator is used "
            "and judged only where it has seen none of the test images, or test "
            f"{info.data.groups}, of its split."
        )
    return (
        f"{one}-disjoint (no {one} and no image is in two parts of a fold) and generator-aware (a training set is "
        f"refused when its generator, or a statistic fitted on images, has seen a {one} that is held out)."
    )


def _range(folds: Sequence[FoldSize], field: str) -> str:
    """'158 to 162', the smallest and the largest over folds."""
    values = [getattr(f, field) for f in folds]
    return str(min(values)) if min(values) == max(values) else f"{min(values)} to {max(values)}"
