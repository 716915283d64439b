"""From listed files to image records: decode and hash every image, report problems, handle duplicates.

The result is cached by path and signature (``files.signature``: size, times, inode), so that a second start reads no
pixels. A file with a new signature is hashed, and decoded again if its content is new.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

from bench.data.duplicates import exact_copies, mixed_groups, resolve_near_copies
from bench.data.examine import CONVERSIONS, as_seen, decode
from bench.data.image_files import open_image
from bench.data.left_out import summaries
from bench.data.listing import ImageChecks, Listed, Listing
from bench.data.near_duplicates import NearPairs, Thumbnail, look_at, near_pairs
from bench.data.pixels import FILE, GreyValues, Intensity, grey_window, window_for
from bench.data.reading_progress import counted
from bench.data.suspected_masks import mask_partners
from bench.errors import DataError
from bench.files import signature
from bench.store.disk import write_cache
from bench.types import DEFAULT_POLICY, Conversion, DataProblem, DatasetIndex, GreyWindow, ImageRecord, PixelPolicy

DEFAULT_CHECKS = ImageChecks()
_BLOCK = 64  # files that a thread reads at a time; one at a time would take more memory than the result
_KEPT_THUMBNAILS = 40_000  # 4 KB each; the others are decoded a second time, so that large sets need less memory
_SCAN_VERSION = 7  # increase it when an image would be evaluated differently: cached results are then not reused


@dataclass(frozen=True, slots=True)
class Outcome:
    """Result of reading one file; this is what the cache stores."""

    size: int
    mtime_ns: int
    sha256: str
    kind: str = ""
    detail: str = ""
    textured: bool = False
    ctime_ns: int = -1
    inode: int = -1
    values: GreyValues | None = None
    two_colours: bool = False
    grey: bool = False
    converted: tuple[str, ...] = ()

    @property
    def signature(self) -> tuple[int, int, int, int]:
        """The signature of the file when it was read (``files.signature``)."""
        return self.size, self.mtime_ns, self.ctime_ns, self.inode

    @classmethod
    def remembered(cls, stored: Mapping[str, Any]) -> Outcome:
        """Rebuild it from the JSON form of ``asdict``."""
        found = {**stored, "converted": tuple(stored["converted"])}
        if values := stored["values"]:
            own = tuple(values["own"]) if values["own"] else None
            found["values"] = GreyValues(**{**values, "quantiles": tuple(values["quantiles"]), "own": own})
        return cls(**found)


@dataclass(frozen=True)
class Reading:
    """Files as read: one result per file; thumbnails, by content, of files that were decoded and not cached."""

    root: Path
    outcomes: Mapping[str, Outcome]
    thumbnails: dict[str, Thumbnail]
    policy: PixelPolicy = DEFAULT_POLICY

    def near_pairs(self, cache: Path) -> NearPairs:
        """Return the pairs of contents that show one picture, among the usable images with texture."""
        path_of = {o.sha256: path for path, o in self.outcomes.items() if not o.kind and o.textured}

        def thumbnail(sha256: str) -> Thumbnail:
            if (known := self.thumbnails.pop(sha256, None)) is not None:  # only needed once
                return known
            path = self.root / path_of[sha256]
            try:
                image = open_image(path.read_bytes(), self.policy.page)
                return look_at(as_seen(image, self.outcomes[path_of[sha256]].values, self.policy))[1]
            except OSError as e:
                raise DataError(f"{path} was listed but cannot be read any more: {e}") from e

        return near_pairs(path_of, thumbnail, cache)

    def window(self, intensity: Intensity = "auto") -> GreyWindow | None:
        """Return the common window of grey values of all usable images. Raises ``DataError`` as ``grey_window``."""
        usable = [o for path, o in sorted(self.outcomes.items()) if not o.kind and path not in self.masks]
        values = [o.values for o in usable if o.values]
        try:
            return grey_window(values, intensity, len(usable))
        except DataError as e:
            raise DataError(f"{self.root}: {e}") from None

    @cached_property
    def masks(self) -> dict[str, str]:
        """The usable files that seem to be the mask of an image, and that image (``mask_partners``)."""
        return mask_partners({path: o.two_colours for path, o in self.outcomes.items() if not o.kind})


def index_listing(name: str, listing: Listing, checks: ImageChecks, cache: Path, where: str) -> DatasetIndex:
    """Read a listing and return its index. Raises ``DataError``, with ``where`` at its end, if a class is empty."""
    if listing.foreign and checks.on_bad_image == "refuse":
        remedy = "remove them, or set on_bad_image to skip"
        raise DataError(refusal(listing.root, listing.foreign, "foreign files", remedy))
    listed = sorted(listing.files, key=lambda f: f.path)
    reading = read_files(listing.root, [f.path for f in listed], cache, checks.policy)
    policy = replace(checks.policy, window=reading.window(checks.intensity))
    records, problems = resolve(listed, reading, (*listing.classes, *listing.others), checks, cache)
    if listing.others:
        paths = {f.path for f in listing.files if f.label < len(listing.classes)}
        records = [r for r in records if r.path in paths]
        problems = [p for p in problems if p.path in paths]
    usable = {r.label for r in records}
    for label, empty in enumerate(listing.classes):
        if label not in usable:
            names = {f.path for f in listing.files if f.label == label}
            lost = "".join(f"\n  {p.path}: {p.kind}: {p.detail}" for p in problems if p.path in names)
            others = "".join(f"\n  {line}" for line in summaries(listing.foreign, listing.skipped))
            raise DataError(f"no usable {empty} images under {listing.root}.{lost}{others}\n{where}")
    found = (*listing.foreign, *problems)
    used = {r.path: reading.outcomes[r.path] for r in records}
    return DatasetIndex(
        name,
        listing.root,
        listing.classes,
        tuple(records),
        found,
        policy,
        listing.skipped,
        grey=all(o.grey for o in used.values()),
        group_name=listing.groups if listing.knows_groups else "images",
        conversions=conversions(used, policy.window),
    )


def conversions(used: Mapping[str, Outcome], window: GreyWindow | None) -> tuple[Conversion, ...]:
    """Return what reading changes in the images of a data set, given their outcomes by path and the set's window."""
    paths: defaultdict[str, list[str]] = defaultdict(list)
    for path, outcome in used.items():
        kinds = list(outcome.converted)
        if outcome.values and outcome.values.kind != "colour":
            chosen = window_for(outcome.values, window)
            kinds += ["file_window"] if chosen.how == FILE else ["own_window"] if chosen != window else []
        for kind in kinds:
            paths[kind].append(path)
    return tuple(Conversion(kind, len(paths[kind]), min(paths[kind])) for kind in CONVERSIONS if kind in paths)


def scan(
    root: Path,
    files: Iterable[Listed],
    *,
    classes: Sequence[str],
    cache: Path,
    checks: ImageChecks = DEFAULT_CHECKS,
) -> tuple[list[ImageRecord], list[DataProblem]]:
    """Read every listed file once and return the usable records, sorted by path, and the problems found.

    Bad images are excluded; with ``on_bad_image='refuse'`` they raise ``DataError`` that names all of them. Exact
    copies (by SHA-256) of one class: the first by path is kept. Copies with two labels: none is kept, because one label
    is wrong. ``on_duplicate='keep'`` reports them and keeps all; ``'refuse'`` raises. Near copies in different groups
    are merged into one group, dropped, kept or refused according to ``on_near_duplicate``; with two labels, none is
    kept unless it is 'keep': see ``duplicates.resolve_near_copies``. A group with two labels is reported.
    """
    listed = sorted(files, key=lambda f: f.path)
    return resolve(listed, read_files(root, [f.path for f in listed], cache, checks.policy), classes, checks, cache)


def resolve(
    listed: Sequence[Listed], reading: Reading, classes: Sequence[str], checks: ImageChecks, cache: Path
) -> tuple[list[ImageRecord], list[DataProblem]]:
    """Return the usable records of files that were read, and the problems found, as ``scan`` does."""
    root = reading.root
    everything, bad = records_of(listed, reading)
    if bad and checks.on_bad_image == "refuse":
        raise DataError(refusal(root, bad, "bad images", "repair or remove them, or set on_bad_image to skip"))
    copies, surplus = exact_copies(everything, classes)
    if copies and checks.on_duplicate == "refuse":
        raise DataError(refusal(root, copies, "exact copies", "remove them, or set on_duplicate to drop"))
    kept = [r for r in everything if checks.on_duplicate != "drop" or r.path not in surplus]
    pairs = reading.near_pairs(cache).pairs
    records, near = resolve_near_copies(everything, kept, pairs, classes, checks.on_near_duplicate)
    if near and checks.on_near_duplicate == "refuse":
        raise DataError(refusal(root, near, "near copies", "remove them, or set on_near_duplicate to group or drop"))
    return records, bad + copies + near + mixed_groups(records, classes)


def records_of(listed: Sequence[Listed], reading: Reading) -> tuple[list[ImageRecord], list[DataProblem]]:
    """Return the usable images in order, and a problem for each of the others."""
    records: list[ImageRecord] = []
    bad: list[DataProblem] = []
    for file in listed:
        outcome = reading.outcomes[file.path]
        if outcome.kind:
            bad.append(DataProblem(file.path, outcome.kind, outcome.detail))
        elif partner := reading.masks.get(file.path):
            detail = f"two colours, and named like {partner}: a mask is not an image"
            bad.append(DataProblem(file.path, "suspected_mask", detail))
        else:
            masks, attributes = file.masks, file.attributes
            records.append(ImageRecord(file.path, file.label, file.group, outcome.sha256, masks, attributes))
    return records, bad


def refusal(root: Path, problems: Sequence[DataProblem], what: str, remedy: str) -> str:
    """Return an error message that names every path."""
    lines = "\n".join(f"  {p.path}: {p.kind}: {p.detail}" for p in problems)
    return f"{len(problems)} {what} under {root}:\n{lines}\n{remedy}"


def fingerprint(index: DatasetIndex) -> str:
    """Return 16 hex characters over classes, every (path, label, group, sha256), and how pixels are read.

    The same images give the same value for any folder and any listing order.
    """
    rows = sorted((r.path, r.label, r.group_id, r.sha256) for r in index.records)
    content: list[Any] = [list(index.classes), rows]
    if window := index.pixels.window:  # without a window, the value is the same as in versions without windows
        content.append([window.low, window.high])
    if index.conversions:  # likewise
        content.append([[c.kind, c.count] for c in index.conversions])
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def read_files(root: Path, paths: Sequence[str], cache: Path, policy: PixelPolicy = DEFAULT_POLICY) -> Reading:
    """Read and check every file, or reuse the cached result if its signature or its content is unchanged."""
    place = f"{root.resolve()}{policy.suffix}"
    memory_path = cache / f"scan-{hashlib.sha256(place.encode()).hexdigest()[:12]}.json"
    memory = _load_memory(memory_path)
    by_content = {o.sha256: o for o in memory.values() if o.sha256}
    thumbnails: dict[str, Thumbnail] = {}

    def read(path: str) -> Outcome:
        try:
            found = signature(root / path)  # before the content: a change in between is detected at the next run
            known = memory.get(path)
            if known and known.signature == found:
                return known
            content = (root / path).read_bytes()
        except OSError as e:
            return Outcome(-1, -1, "", "unreadable", str(e.strerror or e))
        sha256 = hashlib.sha256(content).hexdigest()
        size, mtime_ns, ctime_ns, inode = found
        if known := by_content.get(sha256):  # of this file, or of a copy
            return replace(known, size=size, mtime_ns=mtime_ns, ctime_ns=ctime_ns, inode=inode)
        decoded = decode(content, policy)
        if decoded.thumbnail is not None and len(thumbnails) < _KEPT_THUMBNAILS:
            thumbnails[sha256] = decoded.thumbnail
        by_content[sha256] = Outcome(
            size, mtime_ns, sha256, decoded.kind, decoded.detail, decoded.textured, ctime_ns, inode, decoded.values,
            decoded.two_colours, decoded.grey, decoded.converted,
        )  # fmt: skip
        return by_content[sha256]

    def read_block(start: int) -> list[Outcome]:
        return [read(path) for path in paths[start : start + _BLOCK]]

    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:  # Pillow decodes outside the interpreter lock
        blocks = counted("reading images", pool.map(read_block, range(0, len(paths), _BLOCK)), len(paths), _BLOCK)
        outcomes = dict(zip(paths, chain.from_iterable(blocks), strict=True))
    fresh = {p: o for p, o in outcomes.items() if memory.get(p) != o and o.size >= 0}
    if fresh:
        files = {p: asdict(o) for p, o in {**memory, **fresh}.items()}
        write_cache(memory_path, json.dumps({"version": _SCAN_VERSION, "files": files}))
    return Reading(root, outcomes, thumbnails, policy)


def _load_memory(path: Path) -> dict[str, Outcome]:
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        if stored["version"] != _SCAN_VERSION:
            return {}
        return {p: Outcome.remembered(o) for p, o in stored["files"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}  # missing or damaged: everything is read again
