"""Small image folders and indexes for the tests of bench.data."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from bench.types import DatasetIndex, ImageRecord


def picture(seed: int, size: tuple[int, int] = (24, 20), mode: str = "RGB") -> Image.Image:
    """A picture that differs from every other seed's."""
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)).convert(mode)


def png(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def write(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def two_classes(root: Path, patients: int = 4, images: int = 3) -> Path:
    """root/<a|b>/P<n>_<i>.png, every image different."""
    for label, name in enumerate("ab"):
        for patient in range(patients):
            for i in range(images):
                number = label * 10_000 + patient * 100 + i
                write(root / name / f"P{label}{patient:02d}_{i}.png", png(picture(number)))
    return root


def made_up_index(counts: list[list[int]], root: Path = Path("/nowhere")) -> DatasetIndex:
    """An index without files: ``counts[g][c]`` images of class c in group g."""
    records = []
    for g, row in enumerate(counts):
        for label, n in enumerate(row):
            for i in range(n):
                path = f"c{label}/g{g:03d}_{i:03d}.png"
                records.append(ImageRecord(path, label, f"g{g:03d}", f"{g:020x}{label:020x}{i:024x}"))
    classes = tuple(f"c{i}" for i in range(len(counts[0])))
    return DatasetIndex("made_up", root, classes, tuple(sorted(records, key=lambda r: r.path)))
