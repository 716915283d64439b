"""Listed files -> image records: every image is decoded and hashed once, oddities are named, copies are found.

The outcome is remembered by (path, size, modification time), so that a second start reads no pixels.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import warnings
from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from bench.errors import ConfigError, DataError
from bench.files import write_atomic
from bench.types import DataProblem, DatasetIndex, ImageRecord

if TYPE_CHECKING:
    from PIL import Image

OnBadImage = Literal["skip", "refuse"]
OnDuplicate = Literal["drop", "keep", "refuse"]
MIN_SIDE_PX = 16
MAX_PIXELS = 100_000_000  # a decompression bomb, or a whole slide that should be tiled first
GREY_OR_COLOUR = ("1", "L", "P", "RGB", "I", "I;16", "I;16L", "I;16B")
_SCAN_VERSION = 1  # raise it when an image would be judged otherwise: remembered outcomes are then not reused


@dataclass(frozen=True, slots=True)
class Listed:
    """A file that a layout names as an image: POSIX path relative to the root, what it shows, and whose it is."""

    path: str
    label: int
    group: str
    masks: tuple[str, ...] = ()
    attributes: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What reading one file told. ``kind`` is empty for a good image."""

    size: int
    mtime_ns: int
    sha256: str
    kind: str = ""
    detail: str = ""


def check_options(on_bad_image: str, on_duplicate: str) -> None:
    """Raise ``ConfigError`` unless both options hold one of their values."""
    if on_bad_image not in ("skip", "refuse"):
        raise ConfigError(f"on_bad_image is {on_bad_image!r}; valid: skip, refuse")
    if on_duplicate not in ("drop", "keep", "refuse"):
        raise ConfigError(f"on_duplicate is {on_duplicate!r}; valid: drop, keep, refuse")


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


def judge(content: bytes) -> tuple[str, str]:
    """Return ('', '') for a usable image, else a kind and a detail: see ``DataProblem``."""
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(content)) as probe:
                width, height = probe.size
        if width * height > MAX_PIXELS:
            return "too_large", f"{width}×{height} pixels; at most {MAX_PIXELS:,} are read: tile it first"
        image = open_image(content)
    except UnidentifiedImageError:
        return "not_an_image", f"{len(content):,} bytes that no image format fits"
    except Image.DecompressionBombError as e:
        return "too_large", str(e)
    except Exception as e:  # decoders raise OSError, SyntaxError, ValueError, struct.error, zlib.error, …
        return "truncated", f"cannot be decoded to its end: {e}"
    if min(width, height) < MIN_SIDE_PX:
        return "too_small", f"{width}×{height} pixels; at least {MIN_SIDE_PX} a side are needed"
    if image.mode not in GREY_OR_COLOUR or (image.mode == "P" and "transparency" in image.info):
        channels = ", ".join(image.getbands()) + (" and transparency" if image.mode == "P" else "")
        return "channels", f"{len(image.getbands())} channels ({channels}); grey or RGB is needed"
    return "", ""


def scan(
    root: Path,
    files: Iterable[Listed],
    *,
    classes: Sequence[str],
    on_bad_image: OnBadImage = "skip",
    on_duplicate: OnDuplicate = "drop",
    cache: Path,
) -> tuple[list[ImageRecord], list[DataProblem]]:
    """Read every listed file once and return the usable records, sorted by path, and what was odd.

    Bad images are left out; with ``on_bad_image='refuse'`` they raise ``DataError``, all of them named. Exact copies
    (by SHA-256) of one class: the first by path stays. Copies under two labels: none stays, for one label is wrong.
    ``on_duplicate='keep'`` reports them and keeps all; ``'refuse'`` raises. A group with two labels is reported.
    """
    check_options(on_bad_image, on_duplicate)
    listed = sorted(files, key=lambda f: f.path)
    outcomes = _read_all(root, [f.path for f in listed], cache)
    bad = [DataProblem(f.path, o.kind, o.detail) for f, o in zip(listed, outcomes, strict=True) if o.kind]
    if bad and on_bad_image == "refuse":
        raise DataError(refusal(root, bad, "bad images", "mend or remove them, or set on_bad_image to skip"))
    records = [
        ImageRecord(f.path, f.label, f.group, o.sha256, f.masks, f.attributes)
        for f, o in zip(listed, outcomes, strict=True)
        if not o.kind
    ]
    copies, dropped = _find_copies(records, classes)
    if copies and on_duplicate == "refuse":
        raise DataError(refusal(root, copies, "exact copies", "remove them, or set on_duplicate to drop"))
    if on_duplicate == "drop":
        records = [r for r in records if r.path not in dropped]
    return records, bad + copies + _mixed_groups(records, classes)


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


def _read_all(root: Path, paths: list[str], cache: Path) -> list[_Outcome]:
    memory_path = cache / f"scan-{hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:12]}.json"
    memory = _load_memory(memory_path)

    def read(path: str) -> _Outcome:
        try:
            stat = (root / path).stat()
            known = memory.get(path)
            if known and (known.size, known.mtime_ns) == (stat.st_size, stat.st_mtime_ns):
                return known
            content = (root / path).read_bytes()
        except OSError as e:
            return _Outcome(-1, -1, "", "unreadable", str(e.strerror or e))
        return _Outcome(stat.st_size, stat.st_mtime_ns, hashlib.sha256(content).hexdigest(), *judge(content))

    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:  # Pillow decodes outside the interpreter lock
        outcomes = list(pool.map(read, paths))
    fresh = {p: o for p, o in zip(paths, outcomes, strict=True) if memory.get(p) != o and o.size >= 0}
    if fresh:
        files = {p: asdict(o) for p, o in {**memory, **fresh}.items()}
        write_atomic(memory_path, json.dumps({"version": _SCAN_VERSION, "files": files}))
    return outcomes


def _load_memory(path: Path) -> dict[str, _Outcome]:
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        if stored["version"] != _SCAN_VERSION:
            return {}
        return {p: _Outcome(**o) for p, o in stored["files"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}  # absent or damaged: everything is read again


def _find_copies(records: list[ImageRecord], classes: Sequence[str]) -> tuple[list[DataProblem], set[str]]:
    by_content: defaultdict[str, list[ImageRecord]] = defaultdict(list)
    for record in records:
        by_content[record.sha256].append(record)
    problems: list[DataProblem] = []
    dropped: set[str] = set()
    for same in (s for s in by_content.values() if len(s) > 1):
        labels = sorted({r.label for r in same})
        if len(labels) > 1:
            kind, lost = "copy_under_two_labels", same
            detail = f"same bytes as {{}}, under the labels {', '.join(classes[i] for i in labels)}"
        else:
            across = len({r.group_id for r in same}) > 1
            kind, lost = ("copy_across_groups" if across else "copy"), same[1:]
            detail = "same bytes as {}" + (", of another group" if across else "")
        for record in lost:
            others = [r.path for r in same if r is not record] if len(labels) > 1 else [same[0].path]
            problems.append(DataProblem(record.path, kind, detail.format(", ".join(others))))
            dropped.add(record.path)
    return sorted(problems, key=lambda p: p.path), dropped


def _mixed_groups(records: list[ImageRecord], classes: Sequence[str]) -> list[DataProblem]:
    by_group: defaultdict[str, list[ImageRecord]] = defaultdict(list)
    for record in records:
        by_group[record.group_id].append(record)
    problems = []
    for group, members in sorted(by_group.items()):
        labels = sorted({r.label for r in members})
        if len(labels) > 1:
            counts = ", ".join(f"{sum(r.label == i for r in members)} {classes[i]}" for i in labels)
            detail = f"group {group!r} has images of several classes ({counts}); it is kept whole"
            problems.append(DataProblem(members[0].path, "group_with_two_labels", detail))
    return problems
