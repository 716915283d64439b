"""Differences between two runs in settings, code, data and folds. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from bench.analysis.info import FoldSize, ReportInfo
from bench.analysis.two_runs.side import Side
from bench.config import build
from bench.data.published_split import PUBLISHED
from bench.data.split_config import SplitConfig

# Settings that determine the folds. Not `repeats`: repeats are drawn independently, so shared ones are equal.
DECISIVE = {
    "kfold": ("protocol", "folds", "validation_fraction", "seed"),
    "given": ("protocol", "validation_fraction", "seed"),
    "holdout": ("protocol", "test_fraction", "validation_fraction", "seed"),
}


class Absent:
    """Placeholder for a setting that one of two configs does not have."""

    def __repr__(self) -> str:
        return "not there"


ABSENT = Absent()


@dataclass(frozen=True)
class Changed:
    """One difference by path ('methods.cyclegan.steps'), with the values in A and B; ``ABSENT`` if missing."""

    path: str
    a: Any
    b: Any


def config_changes(a: Mapping[str, Any], b: Mapping[str, Any], at: str = "") -> Iterator[Changed]:
    """Yield the differences of two nested mappings, in A's order, then keys only in B; lists are compared as a
    whole."""
    for key in dict.fromkeys((*a, *b)):
        path, one, other = f"{at}{key}", a.get(key, ABSENT), b.get(key, ABSENT)
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            yield from config_changes(one, other, f"{path}.")
        elif one != other:
            yield Changed(path, one, other)


def code_changes(a: ReportInfo, b: ReportInfo) -> tuple[Changed, ...]:
    """Return the differences in commit, library versions and machines; unknown values are ''."""
    versions = config_changes(a.versions, b.versions, "version of ")
    found = [Changed("git commit", a.git_commit, b.git_commit), *versions, Changed("machine", a.host, b.host)]
    return tuple(c for c in found if c.a != c.b)


def data_changes(a: ReportInfo, b: ReportInfo) -> tuple[Changed, ...]:
    """Return the differences in data set, fingerprint, classes and their sizes."""
    found = [Changed("dataset", a.dataset, b.dataset), Changed("fingerprint", a.fingerprint, b.fingerprint)]
    found.append(Changed("positive class", a.positive_class, b.positive_class))
    sizes = [{c.name: f"{c.images} images, {c.groups} groups" for c in x.data.classes} for x in (a, b)]
    if all(sizes):  # missing in reports of earlier versions
        found += config_changes(sizes[0], sizes[1], "class ")
    found.append(Changed("classes", ", ".join(a.classes), ", ".join(b.classes)))
    if a.fingerprint == b.fingerprint:
        found += [Changed(f"fold {x.fold}.{x.repeat}", _sizes(x), _sizes(y)) for x, y in _shared_folds(a, b)]
    return tuple(c for c in found if c.a != c.b)


def not_paired_because(a: Side, b: Side) -> tuple[str, ...]:
    """Return why the folds of two runs differ; () if they are the same.

    They are the same if images, settings and sizes are equal.
    """
    if a.info.fingerprint != b.info.fingerprint or not a.info.fingerprint:
        return (f"the data are not the same ({_data(a.info)} in A, {_data(b.info)} in B)",)
    missing = [side.name for side in (a, b) if side.config is None]
    if missing:
        return tuple(f"{name} has no suite.yaml, so it is unknown how its folds were drawn" for name in missing)
    one, other = (asdict(build(SplitConfig, (s.config or {}).get("split", {}), s.name).drawn) for s in (a, b))
    names = DECISIVE.get(one["protocol"], tuple(one)) if one["protocol"] != PUBLISHED else tuple(one)
    different = [n for n in names if n != "repeats" and one[n] != other.get(n)]
    if different:
        return tuple(
            f"the folds were drawn differently: split.{n} is {one[n]} in A, {other.get(n)} in B" for n in different
        )
    sizes = [(x, y) for x, y in _shared_folds(a.info, b.info) if _sizes(x) != _sizes(y)]
    return tuple(f"fold {x.fold}.{x.repeat} has {_sizes(x)} in A, {_sizes(y)} in B" for x, y in sizes)


def _shared_folds(a: ReportInfo, b: ReportInfo) -> list[tuple[FoldSize, FoldSize]]:
    others = {f.at: f for f in b.folds}
    return [(f, others[f.at]) for f in a.folds if f.at in others]


def _sizes(fold: FoldSize) -> str:
    return f"{fold.train_images} + {fold.validation_images} + {fold.test_images} images"  # train, validation, test


def _data(info: ReportInfo) -> str:
    return f"{info.dataset} {info.fingerprint or 'without a fingerprint'}"
