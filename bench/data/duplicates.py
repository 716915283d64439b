"""Duplicates among the images of a data set, and how they are handled before any split is drawn.

Exact copies have the same bytes; near copies show the same picture (``near_duplicates``). Every image that is excluded
or moved to another group is reported as a problem. Near copies that have run together (``run_together``) are reported
and never acted on: a chain of resemblances is no evidence that its ends show one picture.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Literal, NamedTuple

from bench.data.near_duplicates import NearPair, clusters
from bench.types import DataProblem, ImageRecord

OnDuplicate = Literal["drop", "keep", "refuse"]
OnNearDuplicate = Literal["group", "drop", "keep", "refuse"]
_MOST_NAMED = 3  # maximum number of other images named in one message
_LARGE = 10  # images, or groups: a smaller cluster is never taken to have run together
_PAIRS_AN_IMAGE = 2  # near pairs of a large cluster; n copies of one picture have about 4 each
_SHARE_OF_GROUPS = 0.1


class NearCopy(NamedTuple):
    """Two images (``first`` before ``second`` by path) whose contents are a near pair, in the same order."""

    first: ImageRecord
    second: ImageRecord
    pair: NearPair


def exact_copies(records: Sequence[ImageRecord], classes: Sequence[str]) -> tuple[list[DataProblem], set[str]]:
    """Return one problem per surplus copy, and the paths of all surplus copies.

    Among copies of one class the first by path is kept; of copies with two labels none is kept.
    """
    problems: list[DataProblem] = []
    surplus: set[str] = set()
    for same in (s for s in by_content(records).values() if len(s) > 1):
        labels = sorted({r.label for r in same})
        if len(labels) > 1:
            kind, lost = "copy_under_two_labels", same
            detail = f"same bytes as {{}}, under the labels {', '.join(classes[i] for i in labels)}"
        else:
            across = len({r.group_id for r in same}) > 1
            kind, lost = ("copy_across_groups" if across else "copy"), same[1:]
            detail = "same bytes as {}" + (", of another group" if across else "")
        for record in lost:
            others = [r.path for r in same[: _MOST_NAMED + 1] if r is not record] if len(labels) > 1 else [same[0].path]
            more = len(same) - 1 - _MOST_NAMED if len(labels) > 1 else 0
            named = ", ".join(others[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
            problems.append(DataProblem(record.path, kind, detail.format(named)))
            surplus.add(record.path)
    return sorted(problems, key=lambda p: p.path), surplus


def near_copies(records: Sequence[ImageRecord], pairs: Iterable[NearPair]) -> list[NearCopy]:
    """Return the image pairs that belong to the content pairs, sorted by path.

    Of contents that several images have, each image is paired with the first one of each label that has the other
    content: this links and labels the same images as all pairs, whose number is the product.
    """
    having = by_content(records)
    found = {}
    for pair in pairs:
        one, other = having.get(pair.first, []), having.get(pair.second, [])
        for a, b in (*product(one, _first_of_labels(other)), *product(_first_of_labels(one), other)):
            copy = NearCopy(a, b, pair) if a.path < b.path else NearCopy(b, a, pair.swapped())
            found[copy.first.path, copy.second.path] = copy
    return [found[paths] for paths in sorted(found)]


def _first_of_labels(records: Sequence[ImageRecord]) -> list[ImageRecord]:
    return list({r.label: r for r in reversed(records)}.values())


def resolve_near_copies(
    everything: Sequence[ImageRecord],
    kept: Sequence[ImageRecord],
    pairs: Sequence[NearPair],
    classes: Sequence[str],
    policy: OnNearDuplicate,
) -> tuple[list[ImageRecord], list[DataProblem]]:
    """Return the images of ``kept`` that remain, and the problems. Near copies within one group and class are allowed.

    Near copies with two labels: ``group`` and ``drop`` exclude both. This uses ``everything``: an image that resembles
    one excluded because of two labels is excluded too. Near copies in different groups: ``group`` merges the groups
    under the first name, so that no split can separate them; ``drop`` keeps the first image by path. ``keep`` and
    ``refuse`` only report. Clusters that have run together are reported, one problem each, and not acted on.
    """
    stays = {r.path for r in kept}
    copies = near_copies(everything, pairs)
    chained = run_together(copies, len({r.group_id for r in everything}))
    doubtful = {path for cluster in chained for path in cluster}
    copies = [c for c in copies if c.first.path not in doubtful]
    conflicts = _conflicts(copies, stays, classes)
    if policy in ("group", "drop"):
        stays -= {p.path for p in conflicts}
    crossing = [
        c
        for c in copies
        if c.first.path in stays
        and c.second.path in stays
        and c.first.label == c.second.label
        and c.first.group_id != c.second.group_id
    ]
    renamed = _merged_groups(crossing) if policy == "group" else {}
    first_of: dict[str, NearCopy] = {}  # one problem per image, which names the first image that it is a copy of
    for copy in crossing:
        if policy == "drop":
            if copy.first.path not in stays:
                continue  # the image that it is a copy of is already excluded
            stays.discard(copy.second.path)
        first_of.setdefault(copy.second.path, copy)
    problems = [_crossing_problem(copy, renamed) for copy in first_of.values()]
    left = [replace(r, group_id=renamed.get(r.group_id, r.group_id)) for r in kept if r.path in stays]
    return left, sorted([*conflicts, *problems, *_chain_problems(chained)], key=lambda p: p.path)


def run_together(copies: Sequence[NearCopy], groups: int) -> list[list[str]]:
    """Return the clusters (paths) of near copies that have run together, out of a set of ``groups`` groups.

    These have more than 10 different images, and fewer than 2 near pairs an image (links form a chain) or more than a
    tenth of the set's groups, if these are more than 10 (the set's images are too much alike to tell them apart).
    """
    record_of = {r.path: r for c in copies for r in (c.first, c.second)}
    found = clusters((c.first.path, c.second.path) for c in copies)
    cluster_of = {path: i for i, paths in enumerate(found) for path in paths}
    links: defaultdict[int, set[NearPair]] = defaultdict(set)
    for copy in copies:
        pair = copy.pair if copy.pair.first < copy.pair.second else copy.pair.swapped()
        links[cluster_of[copy.first.path]].add(pair)
    chained = []
    for i, paths in enumerate(found):
        contents = len({record_of[p].sha256 for p in paths})
        tied = len({record_of[p].group_id for p in paths})
        sparse = len(links[i]) < _PAIRS_AN_IMAGE * contents
        if contents > _LARGE and (sparse or tied > max(_LARGE, _SHARE_OF_GROUPS * groups)):
            chained.append(paths)
    return chained


def mixed_groups(records: Sequence[ImageRecord], classes: Sequence[str]) -> list[DataProblem]:
    """Return a problem for each group whose images have several labels, reported at its first image."""
    by_group: defaultdict[str, list[ImageRecord]] = defaultdict(list)
    for record in records:
        by_group[record.group_id].append(record)
    problems = []
    for group, images in sorted(by_group.items()):
        labels = sorted({r.label for r in images})
        if len(labels) > 1:
            counts = ", ".join(f"{sum(r.label == i for r in images)} {classes[i]}" for i in labels)
            detail = f"group {group!r} has images of several classes ({counts}); the group is not divided"
            problems.append(DataProblem(images[0].path, "group_with_two_labels", detail))
    return problems


def by_content(records: Iterable[ImageRecord]) -> dict[str, list[ImageRecord]]:
    """Return the images of each content, in order."""
    found: defaultdict[str, list[ImageRecord]] = defaultdict(list)
    for record in records:
        found[record.sha256].append(record)
    return dict(found)


def _conflicts(copies: Sequence[NearCopy], stays: set[str], classes: Sequence[str]) -> list[DataProblem]:
    others: defaultdict[str, list[str]] = defaultdict(list)
    for copy in copies:
        if copy.first.label == copy.second.label:
            continue
        for one, other in ((copy.first, copy.second), (copy.second, copy.first)):
            if one.path in stays:
                label = classes[other.label]
                others[one.path].append(f"{other.path}, which is labelled {label} ({copy.pair.describe()})")
    problems = []
    for path, named in sorted(others.items()):
        more = f" and {len(named) - _MOST_NAMED} more" if len(named) > _MOST_NAMED else ""
        detail = f"near copy of {'; '.join(named[:_MOST_NAMED])}{more}"
        problems.append(DataProblem(path, "near_copy_under_two_labels", detail))
    return problems


def _chain_problems(chained: Iterable[Sequence[str]]) -> list[DataProblem]:
    what = "images are linked by near copies into one cluster that has run together; none is merged or excluded for it"
    return [
        DataProblem(paths[0], "near_copies_run_together", f"{len(paths)} {what}: {', '.join(paths[:_MOST_NAMED])}, …")
        for paths in chained
    ]


def _crossing_problem(copy: NearCopy, renamed: Mapping[str, str]) -> DataProblem:
    group = copy.first.group_id
    detail = f"near copy of {copy.first.path} ({copy.pair.describe()}), of group {group!r}"
    now = f"; both are of group {renamed[group]!r} now" if renamed else ""
    return DataProblem(copy.second.path, "near_copy_across_groups", detail + now)


def _merged_groups(crossing: Sequence[NearCopy]) -> dict[str, str]:
    """Return the new name of each group that near copies link to another group."""
    tied = clusters((c.first.group_id, c.second.group_id) for c in crossing)
    return {group: names[0] for names in tied for group in names}
