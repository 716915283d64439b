"""Problems of masks: missing, empty, another size than the image, several per image, the same file twice."""

from __future__ import annotations

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.data.image_files import open_image
from bench.data.listing import Listed


@dataclass(frozen=True, slots=True)
class _Mask:
    sha256: str
    size: tuple[int, int] | None = None  # None: it cannot be read
    is_empty: bool = False


def audit_masks(
    root: Path, files: Sequence[Listed], classes: Sequence[str], sizes: Mapping[str, tuple[int, int]]
) -> dict[str, Any]:
    """Return the mask section of an audit (its keys are documented in ``audit``).

    ``sizes`` has width and height of the usable images.
    """
    paths = sorted({m for f in files for m in f.masks})
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        masks = dict(zip(paths, pool.map(lambda p: _read(root / p), paths), strict=True))
    same: defaultdict[str, list[str]] = defaultdict(list)
    for path, mask in masks.items():
        if mask.sha256:
            same[mask.sha256].append(path)
    identical = [{"paths": p, "empty": masks[p[0]].is_empty} for p in sorted(same.values()) if len(p) > 1]
    empty = [(f.path, classes[f.label]) for f in files if f.masks and all(masks[m].is_empty for m in f.masks)]
    return {
        "files": len(paths),
        "missing": [f.path for f in files if not f.masks],
        "unreadable": [p for p, m in masks.items() if m.size is None],
        "empty": [path for path, _ in empty],
        "empty_by_class": dict(sorted(Counter(name for _, name in empty).items())),
        "several": [{"path": f.path, "masks": list(f.masks)} for f in files if len(f.masks) > 1],
        "other_size": [
            {"mask": m, "mask_size": list(masks[m].size or ()), "image": f.path, "image_size": list(sizes[f.path])}
            for f in files
            for m in f.masks
            if f.path in sizes and masks[m].size not in (None, sizes[f.path])
        ],
        "identical": identical,
        "identical_pairs": sum(len(p) * (len(p) - 1) // 2 for p in same.values()),
    }


def _read(path: Path) -> _Mask:
    try:
        content = path.read_bytes()
    except OSError:
        return _Mask("")
    sha256 = hashlib.sha256(content).hexdigest()
    try:
        image = open_image(content)
    except Exception:  # as in ``records.decode``: decoders raise many kinds of errors
        return _Mask(sha256)
    return _Mask(sha256, image.size, not np.asarray(image).any())
