"""What changed in a data set since the last run: images added, removed, changed, or of another class or group."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from bench.files import write_atomic
from bench.types import DatasetIndex


def data_changes(index: DatasetIndex, path: Path) -> str:
    """Return a description of how an index differs from the one stored at ``path``.

    Returns '' if nothing differs or no index is stored. Images are compared by path: the SHA-256 of the file, the class
    and the group (patient).
    """
    before, now = _read(path), _images(index)
    if before is None or before == now:
        return ""
    common = before.keys() & now.keys()
    counts = {
        "added": len(now.keys() - before.keys()),
        "removed": len(before.keys() - now.keys()),
        "with other content": sum(before[p][0] != now[p][0] for p in common),
        "of another class or group": sum(before[p][1:] != now[p][1:] for p in common),
    }
    found = [f"{n} {what}" for what, n in counts.items() if n]
    return f"images: {len(before)} before, {len(now)} now: {', '.join(found)}"


def keep_index(index: DatasetIndex, path: Path) -> None:
    """Store the index that ``data_changes`` compares with at the next run."""
    images = _images(index)
    if _read(path) != images:
        write_atomic(path, json.dumps(images, ensure_ascii=False, indent=0))


def _images(index: DatasetIndex) -> dict[str, list[str]]:
    return {r.path: [r.sha256, index.classes[r.label], r.group_id] for r in index.records}


def _read(path: Path) -> dict[str, Any] | None:
    """Return the stored index; None if there is none or it cannot be read."""
    with suppress(OSError, ValueError):
        found = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(found, dict) and all(isinstance(v, list) and len(v) == 3 for v in found.values()):
            return found
    return None
