"""Part of the real BreakHis images in the official layout: whole audits and demonstrations in less time."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path


def part_of_breakhis(real_data: Path, to: Path, every: int = 1, slides: Collection[str] = ()) -> Path:
    """Link every n-th image (n = ``every``) of some or all slides to a folder, and return it."""
    breast = (real_data / "BreaKHis_v1" / "histology_slides" / "breast").resolve()
    paths = [p for p in sorted(breast.rglob("*.png")) if not slides or p.parents[1].name in slides]
    root = to / "BreaKHis_v1"
    for path in paths[::every]:
        link = root / "histology_slides" / "breast" / path.relative_to(breast)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(path)
    return root
