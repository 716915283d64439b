"""The audit of a folder of images, before training and before duplicates are handled: every file is counted.

``audit_listing`` returns plain data, sorted, the same for the same files; ``bench data audit --json`` prints it. Keys:

``dataset, root, classes``      what was read and how
``counts``                      the figures of everything below, flat: ``files``, ``usable``, ``contents`` (different
                                files), ``groups``, ``exact_pairs``, ``exact_clusters``, ``exact_label_conflicts``
                                (pairs), ``exact_across_groups`` (pairs), and the same for ``near_…``;
                                ``near_within_groups``, ``mixed_groups``, ``unusable``, ``odd``, ``marked``
``groups_known``                false: no patient ids, so every image is its own group
``group_name``                  what groups are otherwise, in the plural: patients, lesions, slides
``exact``                       ``pairs`` [[path, path]] of all byte-identical images, usable or not; ``clusters``
                                [[path, …]]; ``label_conflicts`` and ``across_groups``, subsets of the pairs
``near``                        ``pairs`` [{first, second, correlation, orientation}]; ``threshold`` and ``usual``
                                correlation (``near_duplicates.NearPairs``); ``clusters``, ``label_conflicts``,
                                ``across_groups`` as above; ``within_groups`` [[path, path]], harmless; ``too_flat``
                                [path]: no texture, so not compared
``intensity``                   null where every image has 8 bits a channel; else {low, high, how}: the grey values that
                                become 0 to 255 in the whole set (``pixels.grey_window``)
``skipped``                     [{kind, count, example}]: files that are not taken for images
``mixed_groups``                [{group, images: {class: n}}] with images of two classes or more
``unusable``                    [{path, kind, detail}]: not used by a run; also foreign names
``odd``                         [{path, kind, detail}]: used by a run, but unusual: mode, size, constant,
                                extension, exif_rotation, sixteen_bit, several_frames
``marks``                       {text: [path], cross: [path]}: burned in, by a heuristic (``audit.text``): a warning
``masks``                       null where the layout has none; else ``files``, ``missing`` [image], ``unreadable``,
                                ``empty`` [image], ``empty_by_class``, ``several`` [{path, masks}], ``other_size``,
                                ``identical`` [{paths, empty}], ``identical_pairs``
``table``                       [{class, group, size, magnification, images}]: all files; size null where unreadable
``sizes, magnifications, modes``  {value: images}
``appearance``                  ``measures`` (names, see ``appearance.Appearance``), ``groups`` {group: {measure:
                                mean}}, ``outliers`` [{group, measure, mean, z}] beyond 3.5 modified z-scores
``detected, suite, run, folds``  added by the command: see ``bench.cli.audit.audit_subject``
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import combinations
from math import log2
from pathlib import Path
from typing import Any

import numpy as np

from bench.audit.appearance import DYES, Appearance, group_means, measure_all, outliers
from bench.audit.masks import audit_masks
from bench.data.duplicates import NearCopy, near_copies
from bench.data.listing import ImageChecks, Listed, Listing, Stain
from bench.data.near_duplicates import clusters
from bench.data.records import DEFAULT_CHECKS, Outcome, Reading, conversions, read_files, records_of
from bench.types import DataProblem, GreyWindow, ImageRecord

Pair = tuple[str, str]
LIGHT = ("brightness", "contrast", "sharpness")
_EXTENSIONS = {
    "PNG": (".png",),
    "JPEG": (".jpg", ".jpeg"),
    "MPO": (".jpg", ".jpeg"),
    "TIFF": (".tif", ".tiff"),
    "BMP": (".bmp",),
    "GIF": (".gif",),
    "WEBP": (".webp",),
    "DICOM": (".dcm", ".dicom"),
}


def audit_listing(name: str, listing: Listing, cache: Path, checks: ImageChecks = DEFAULT_CHECKS) -> dict[str, Any]:
    """Audit every file of a listing. Returns plain data (see the module); measurements are stored in ``cache``.

    ``checks`` are the data set's options. Raises ``DataError`` when its images keep too few grey levels.
    """
    foreign = [p.path for p in listing.foreign if p.kind == "foreign_name"]
    files = sorted(listing.files, key=lambda f: f.path)
    reading = read_files(listing.root, [*(f.path for f in files), *foreign], cache, checks.policy)
    window = reading.window(checks.intensity)
    policy = replace(checks.policy, window=window)
    key = hashlib.sha256(f"{listing.root.resolve()} {listing.stain}{policy.suffix}".encode()).hexdigest()[:12]
    usable = {p: o.sha256 for p, o in reading.outcomes.items() if not o.kind}
    seen = measure_all(listing.root, usable, listing.stain, cache / f"audit-{key}.json", policy)
    records, bad = records_of(files, reading)
    label_of = {f.path: f.label for f in files} | dict.fromkeys(foreign, -1)
    group_of = {f.path: f.group for f in files} | dict.fromkeys(foreign, "")
    searched = reading.near_pairs(cache)
    near = near_copies(records, searched.pairs)
    result: dict[str, Any] = {
        "dataset": name,
        "root": str(listing.root),
        "classes": list(listing.classes),
        "groups_known": listing.knows_groups,
        "group_name": listing.groups,
        "exact": _exact(reading, label_of, group_of),
        "near": {"threshold": searched.threshold, "usual": searched.usual, **_near(near, reading, label_of, group_of)},
        "mixed_groups": _mixed(files, listing.classes),
        "unusable": _plain([*listing.foreign, *bad]),
        "intensity": {"low": window.low, "high": window.high, "how": window.how} if window else None,
        "conversions": [asdict(c) for c in conversions(_used(records, reading), window)],
        "skipped": [asdict(s) for s in listing.skipped],
        "odd": _plain(_odd(seen, window)),
        "marks": {kind: sorted(p for p, a in seen.items() if a.marks == kind) for kind in ("cross", "text")},
        "masks": None,
        **_tables(files, listing.classes, seen),
        "appearance": _appearance({p: a for p, a in seen.items() if p not in foreign}, group_of, listing.stain),
    }
    if listing.has_masks:
        sizes = {p: (a.width, a.height) for p, a in seen.items()}
        result["masks"] = audit_masks(listing.root, files, listing.classes, sizes)
    result["counts"] = _counts(result, reading, files, len(records))
    return result


def _used(records: Sequence[ImageRecord], reading: Reading) -> dict[str, Outcome]:
    return {r.path: reading.outcomes[r.path] for r in records}


def identical_pairs(sha256_of: Mapping[str, str]) -> list[Pair]:
    """Return the pairs of paths of equal content, sorted."""
    same: defaultdict[str, list[str]] = defaultdict(list)
    for path, sha256 in sorted(sha256_of.items()):
        if sha256:
            same[sha256].append(path)
    return sorted(pair for paths in same.values() for pair in combinations(paths, 2))


def _exact(reading: Reading, label_of: Mapping[str, int], group_of: Mapping[str, str]) -> dict[str, Any]:
    pairs = identical_pairs({p: o.sha256 for p, o in reading.outcomes.items()})
    return {"pairs": [list(p) for p in pairs], "clusters": clusters(pairs), **_sorted_out(pairs, label_of, group_of)}


def _near(
    copies: Sequence[NearCopy], reading: Reading, label_of: Mapping[str, int], group_of: Mapping[str, str]
) -> dict[str, Any]:
    pairs = [(c.first.path, c.second.path) for c in copies]
    measured = [
        {
            "first": c.first.path,
            "second": c.second.path,
            "correlation": c.pair.correlation,
            "orientation": c.pair.orientation,
        }
        for c in copies
    ]
    within = [[a, b] for a, b in pairs if group_of[a] == group_of[b] and label_of[a] == label_of[b]]
    flat = sorted(p for p, o in reading.outcomes.items() if not o.kind and not o.textured)
    found = {"pairs": measured, "clusters": clusters(pairs), "within_groups": within, "too_flat": flat}
    return found | _sorted_out(pairs, label_of, group_of)


def _sorted_out(
    pairs: Iterable[Pair], label_of: Mapping[str, int], group_of: Mapping[str, str]
) -> dict[str, list[list[str]]]:
    """Return the pairs with two labels, and those of two groups; files with foreign names have neither."""
    known = [(a, b) for a, b in pairs if label_of[a] >= 0 and label_of[b] >= 0]
    return {
        "label_conflicts": [[a, b] for a, b in known if label_of[a] != label_of[b]],
        "across_groups": [[a, b] for a, b in known if group_of[a] != group_of[b]],
    }


def _mixed(files: Sequence[Listed], classes: Sequence[str]) -> list[dict[str, Any]]:
    images: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for file in files:
        images[file.group][classes[file.label]] += 1
    return [{"group": g, "images": dict(sorted(c.items()))} for g, c in sorted(images.items()) if len(c) > 1]


def _odd(seen: Mapping[str, Appearance], window: GreyWindow | None) -> list[DataProblem]:
    """Return properties that differ from the rest of the set, or from the file name."""
    if not seen:
        return []
    shown = f"{window.low:g} to {window.high:g} become 0 to 255" if window else ""
    usual_mode = Counter(a.mode for a in seen.values()).most_common(1)[0][0]
    usual = [float(np.median([getattr(a, side) for a in seen.values()])) for side in ("width", "height")]
    found = []
    for path, a in sorted(seen.items()):
        expected = _EXTENSIONS.get(a.format)
        size = f"{a.width}×{a.height}"
        far = max(abs(log2(side / middle)) for side, middle in zip((a.width, a.height), usual, strict=True))
        checks = (
            ("constant", a.highest - a.lowest <= 2, f"grey levels {a.lowest} to {a.highest} only"),
            ("size", far > 1, f"{size}; the set's median is {usual[0]:g}×{usual[1]:g}"),
            ("mode", a.mode != usual_mode, f"mode {a.mode}; most are {usual_mode}"),
            ("sixteen_bit", a.mode[0] in "IF", f"more than 8 bits a pixel; {shown}"),
            ("extension", bool(expected) and not path.lower().endswith(expected or ()), f"it is a {a.format} file"),
            ("exif_rotation", a.exif_orientation != 1, f"EXIF orientation {a.exif_orientation}; it is applied"),
            ("several_frames", a.frames > 1, f"{a.frames} frames; one is used"),
        )
        found += [DataProblem(path, kind, detail) for kind, is_odd, detail in checks if is_odd]
    return found


def _tables(files: Sequence[Listed], classes: Sequence[str], seen: Mapping[str, Appearance]) -> dict[str, Any]:
    rows: Counter[tuple[str, str, str, str]] = Counter()
    for file in files:
        size = f"{seen[file.path].width}×{seen[file.path].height}" if file.path in seen else ""
        rows[classes[file.label], file.group, size, dict(file.attributes).get("magnification", "")] += 1
    names = ("class", "group", "size", "magnification")

    def total(column: int) -> dict[str, int]:
        counted: Counter[str] = Counter()
        for row, n in rows.items():
            counted[row[column]] += n
        return {value: n for value, n in sorted(counted.items()) if value}

    return {
        "table": [
            {**{name: value or None for name, value in zip(names, row, strict=True)}, "images": n}
            for row, n in sorted(rows.items())
        ],
        "sizes": total(2),
        "magnifications": total(3),
        "modes": dict(sorted(Counter(a.mode for a in seen.values()).items())),
    }


def _appearance(seen: Mapping[str, Appearance], group_of: Mapping[str, str], stain: Stain) -> dict[str, Any]:
    coloured = any(not a.is_grey for a in seen.values())
    measures = (*DYES[stain], *LIGHT) if coloured else LIGHT
    means = group_means(seen, group_of, measures)
    rounded = {g: {name: round(value, 4) for name, value in m.items()} for g, m in means.items()}
    return {"measures": list(measures), "groups": rounded, "outliers": outliers(means, measures)}


def _counts(result: Mapping[str, Any], reading: Reading, files: Sequence[Listed], usable: int) -> dict[str, int]:
    counts = {
        "files": len(files),
        "usable": usable,
        "contents": len({reading.outcomes[f.path].sha256 for f in files} - {""}),
        "groups": len({f.group for f in files}),
    }
    for kind in ("exact", "near"):
        for part in ("pairs", "clusters", "label_conflicts", "across_groups"):
            counts[f"{kind}_{part}"] = len(result[kind][part])
    counts["near_within_groups"] = len(result["near"]["within_groups"])
    counts |= {name: len(result[name]) for name in ("mixed_groups", "unusable", "odd")}
    return counts | {"marked": sum(len(paths) for paths in result["marks"].values())}


def _plain(problems: Iterable[DataProblem]) -> list[dict[str, str]]:
    return [asdict(p) for p in sorted(problems, key=lambda p: (p.path, p.kind))]
