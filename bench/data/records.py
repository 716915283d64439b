"""Listed files -> image records: every image is decoded and hashed once, oddities are named, copies are settled.

The outcome is remembered by path and signature (``files.signature``: size, times, inode), so that a second start reads
no pixels. A file with another signature is hashed, and decoded again where its content is new.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bench.data.copies import exact_copies, mixed_groups, settle_near_copies
from bench.data.listing import ImageChecks, Listed, Listing
from bench.data.near_duplicates import NearPair, Thumbnail, look_at, near_pairs
from bench.disk import write_cache
from bench.errors import DataError
from bench.files import signature
from bench.types import DataProblem, DatasetIndex, ImageRecord

if TYPE_CHECKING:
    from PIL import Image

DEFAULT_CHECKS = ImageChecks()
MIN_SIDE_PX = 16
MAX_PIXELS = 100_000_000  # a decompression bomb, or a whole slide that should be tiled first
GREY_OR_COLOUR = ("1", "L", "P", "RGB", "I", "I;16", "I;16L", "I;16B")
_SCAN_VERSION = 2  # raise it when an image would be judged otherwise: remembered outcomes are then not reused


class Judged(NamedTuple):
    """What decoding told: ``kind`` is empty for a usable image (see ``DataProblem``); hashes and thumbnail as
    ``look_at`` gives them."""

    kind: str = ""
    detail: str = ""
    hashes: str = ""
    thumbnail: Thumbnail | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What reading one file told; this is what is remembered."""

    size: int
    mtime_ns: int
    sha256: str
    kind: str = ""
    detail: str = ""
    hashes: str = ""
    ctime_ns: int = -1
    inode: int = -1

    @property
    def signature(self) -> tuple[int, int, int, int]:
        """The signature of the file as it was read (``files.signature``)."""
        return self.size, self.mtime_ns, self.ctime_ns, self.inode


@dataclass(frozen=True)
class Reading:
    """Files as read: an outcome each; thumbnails, by content, of those that were decoded and not remembered."""

    root: Path
    outcomes: Mapping[str, Outcome]
    thumbnails: Mapping[str, Thumbnail]

    def near_pairs(self, cache: Path) -> list[NearPair]:
        """Return the pairs of contents that show one picture, among the usable images."""
        path_of = {o.sha256: path for path, o in self.outcomes.items() if not o.kind}

        def thumbnail(sha256: str) -> Thumbnail:
            if sha256 in self.thumbnails:
                return self.thumbnails[sha256]
            path = self.root / path_of[sha256]
            try:
                return look_at(as_rgb(open_image(path.read_bytes())))[1]
            except OSError as e:
                raise DataError(f"{path} was there when the images were listed and cannot be read now: {e}") from e

        return near_pairs({sha: self.outcomes[path].hashes for sha, path in path_of.items()}, thumbnail, cache)


def open_image(content: bytes) -> Image.Image:
    """Decode an image file's bytes completely. Raises what Pillow raises, whatever the process-wide settings are."""
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # MAX_PIXELS judges instead
        with Image.open(io.BytesIO(content)) as probe:
            probe.verify()  # check sums, which decoding alone does not read
        image = Image.open(io.BytesIO(content))
        image.load()
    return image


def as_rgb(image: Image.Image) -> Image.Image:
    """Return 8-bit RGB. Grey is repeated over three channels; 16-bit grey keeps its upper byte."""
    if image.mode.startswith("I"):
        import numpy as np
        from PIL import Image

        grey = np.asarray(image).astype(np.int64)
        image = Image.fromarray(np.clip(grey // 256 if grey.max() > 255 else grey, 0, 255).astype(np.uint8))
    return image.convert("RGB")


def judge(content: bytes) -> Judged:
    """Decode an image file's bytes and say whether it can be used, and what it looks like."""
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(content)) as probe:
                width, height = probe.size
        if width * height > MAX_PIXELS:
            return Judged("too_large", f"{width}×{height} pixels; at most {MAX_PIXELS:,} are read: tile it first")
        image = open_image(content)
    except UnidentifiedImageError:
        return Judged("not_an_image", f"{len(content):,} bytes that no image format fits")
    except Image.DecompressionBombError as e:
        return Judged("too_large", str(e))
    except Exception as e:  # decoders raise OSError, SyntaxError, ValueError, struct.error, zlib.error, …
        return Judged("truncated", f"cannot be decoded to its end: {e}")
    if min(width, height) < MIN_SIDE_PX:
        return Judged("too_small", f"{width}×{height} pixels; at least {MIN_SIDE_PX} a side are needed")
    if image.mode not in GREY_OR_COLOUR or (image.mode == "P" and "transparency" in image.info):
        channels = ", ".join(image.getbands()) + (" and transparency" if image.mode == "P" else "")
        return Judged("channels", f"{len(image.getbands())} channels ({channels}); grey or RGB is needed")
    return Judged("", "", *look_at(as_rgb(image)))


def index_listing(name: str, listing: Listing, checks: ImageChecks, cache: Path, where: str) -> DatasetIndex:
    """Read a listing and return its index. Raises ``DataError``, with ``where`` at its end, if a class is empty."""
    if listing.foreign and checks.on_bad_image == "refuse":
        remedy = "remove them, or set on_bad_image to skip"
        raise DataError(refusal(listing.root, listing.foreign, "foreign files", remedy))
    classes = (*listing.classes, *listing.others)
    records, problems = scan(listing.root, listing.files, classes=classes, checks=checks, cache=cache)
    if listing.others:
        paths = {f.path for f in listing.files if f.label < len(listing.classes)}
        records = [r for r in records if r.path in paths]
        problems = [p for p in problems if p.path in paths]
    usable = {r.label for r in records}
    for label, empty in enumerate(listing.classes):
        if label not in usable:
            names = {f.path for f in listing.files if f.label == label}
            lost = "".join(f"\n  {p.path}: {p.kind}: {p.detail}" for p in problems if p.path in names)
            raise DataError(f"no usable {empty} images under {listing.root}.{lost}\n{where}")
    return DatasetIndex(name, listing.root, listing.classes, tuple(records), (*listing.foreign, *problems))


def scan(
    root: Path,
    files: Iterable[Listed],
    *,
    classes: Sequence[str],
    cache: Path,
    checks: ImageChecks = DEFAULT_CHECKS,
) -> tuple[list[ImageRecord], list[DataProblem]]:
    """Read every listed file once and return the usable records, sorted by path, and what was odd.

    Bad images are left out; with ``on_bad_image='refuse'`` they raise ``DataError``, all of them named. Exact copies
    (by SHA-256) of one class: the first by path stays. Copies under two labels: none stays, for one label is wrong.
    ``on_duplicate='keep'`` reports them and keeps all; ``'refuse'`` raises. Near copies across groups are put in one
    group, dropped, kept or refused by ``on_near_duplicate``; under two labels, none stays unless kept: see
    ``copies.settle_near_copies``. A group with two labels is reported.
    """
    listed = sorted(files, key=lambda f: f.path)
    reading = read_files(root, [f.path for f in listed], cache)
    everything, bad = records_of(listed, reading)
    if bad and checks.on_bad_image == "refuse":
        raise DataError(refusal(root, bad, "bad images", "mend or remove them, or set on_bad_image to skip"))
    copies, surplus = exact_copies(everything, classes)
    if copies and checks.on_duplicate == "refuse":
        raise DataError(refusal(root, copies, "exact copies", "remove them, or set on_duplicate to drop"))
    kept = [r for r in everything if checks.on_duplicate != "drop" or r.path not in surplus]
    pairs = reading.near_pairs(cache)
    records, near = settle_near_copies(everything, kept, pairs, classes, checks.on_near_duplicate)
    if near and checks.on_near_duplicate == "refuse":
        raise DataError(refusal(root, near, "near copies", "remove them, or set on_near_duplicate to group or drop"))
    return records, bad + copies + near + mixed_groups(records, classes)


def records_of(listed: Sequence[Listed], reading: Reading) -> tuple[list[ImageRecord], list[DataProblem]]:
    """Return the usable images in their order, and a problem for each of the others."""
    records: list[ImageRecord] = []
    bad: list[DataProblem] = []
    for file in listed:
        outcome = reading.outcomes[file.path]
        if outcome.kind:
            bad.append(DataProblem(file.path, outcome.kind, outcome.detail))
        else:
            masks, attributes = file.masks, file.attributes
            records.append(ImageRecord(file.path, file.label, file.group, outcome.sha256, masks, attributes))
    return records, bad


def refusal(root: Path, problems: Sequence[DataProblem], what: str, remedy: str) -> str:
    """Return an error text that names every path."""
    lines = "\n".join(f"  {p.path}: {p.kind}: {p.detail}" for p in problems)
    return f"{len(problems)} {what} under {root}:\n{lines}\n{remedy}"


def fingerprint(index: DatasetIndex) -> str:
    """Return 16 hex characters over classes and every (path, label, group, sha256).

    The same images give the same value wherever they lie and in whatever order they were listed.
    """
    rows = sorted((r.path, r.label, r.group_id, r.sha256) for r in index.records)
    text = json.dumps([list(index.classes), rows], ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def read_files(root: Path, paths: Sequence[str], cache: Path) -> Reading:
    """Read and judge every file, or remember the outcome if its signature, or else its content, is the same."""
    memory_path = cache / f"scan-{hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:12]}.json"
    memory = _load_memory(memory_path)
    thumbnails: dict[str, Thumbnail] = {}

    def read(path: str) -> Outcome:
        try:
            found = signature(root / path)  # before the content: a change between the two is seen the next time
            known = memory.get(path)
            if known and known.signature == found:
                return known
            content = (root / path).read_bytes()
        except OSError as e:
            return Outcome(-1, -1, "", "unreadable", str(e.strerror or e))
        sha256 = hashlib.sha256(content).hexdigest()
        size, mtime_ns, ctime_ns, inode = found
        if known and known.sha256 == sha256:
            return replace(known, size=size, mtime_ns=mtime_ns, ctime_ns=ctime_ns, inode=inode)
        judged = judge(content)
        if judged.thumbnail is not None:
            thumbnails[sha256] = judged.thumbnail
        return Outcome(size, mtime_ns, sha256, judged.kind, judged.detail, judged.hashes, ctime_ns, inode)

    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:  # Pillow decodes outside the interpreter lock
        outcomes = dict(zip(paths, pool.map(read, paths), strict=True))
    fresh = {p: o for p, o in outcomes.items() if memory.get(p) != o and o.size >= 0}
    if fresh:
        files = {p: asdict(o) for p, o in {**memory, **fresh}.items()}
        write_cache(memory_path, json.dumps({"version": _SCAN_VERSION, "files": files}))
    return Reading(root, outcomes, thumbnails)


def _load_memory(path: Path) -> dict[str, Outcome]:
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        if stored["version"] != _SCAN_VERSION:
            return {}
        return {p: Outcome(**o) for p, o in stored["files"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}  # absent or damaged: everything is read again
