"""Folders of synthetic images: their manifest, and the groups that their generator has seen."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, fields
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bench.data.image_files import open_image
from bench.data.pixels import as_rgb
from bench.errors import DataError
from bench.files import write_atomic
from bench.store.csv_cells import DictWriter, read_rows
from bench.types import SyntheticRecord, SyntheticSet

MANIFEST, SEEN = "manifest.csv", "seen_groups.json"


def save_manifest(folder: Path, records: Iterable[SyntheticRecord], seen_groups: Iterable[str]) -> None:
    """Write ``manifest.csv``, one row per image, and ``seen_groups.json`` beside the images in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / MANIFEST, "w", encoding="utf-8", newline="") as f:
        writer = DictWriter(f, [c.name for c in fields(SyntheticRecord)])
        writer.writeheader()
        writer.writerows(asdict(r) for r in records)
    save_seen(folder, seen_groups)


def save_seen(folder: Path, groups: Iterable[str]) -> None:
    """Write the groups that a generator has seen, as JSON, to its folder or to the folder of its images."""
    write_atomic(folder / SEEN, json.dumps(sorted(set(groups)), indent=1, ensure_ascii=False) + "\n")


def load_seen(folder: Path) -> tuple[str, ...]:
    """Read what ``save_seen`` wrote. Raises ``DataError``."""
    try:
        return tuple(str(g) for g in json.loads((folder / SEEN).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as e:
        raise DataError(
            f"{folder} does not list its generator's groups ({type(e).__name__}: {e}); delete it and run again"
        ) from e


def load_synthetic(folder: Path) -> SyntheticSet:
    """Read what ``save_manifest`` wrote. Raises ``DataError``."""
    try:
        with open(folder / MANIFEST, encoding="utf-8", newline="") as f:
            rows = [
                SyntheticRecord(
                    path=r["path"],
                    label=int(r["label"]),
                    seed=int(r["seed"]),
                    checkpoint=r["checkpoint"],
                    source_path=r["source_path"],
                    source_group=r["source_group"],
                )
                for r in read_rows(f)
            ]
    except (OSError, ValueError, KeyError, TypeError) as e:
        raise DataError(f"{folder} is not a finished synthetic folder ({type(e).__name__}: {e}); run again") from e
    return SyntheticSet(folder, tuple(rows), load_seen(folder))


def read_synthetic(path: Path, size_px: int) -> npt.NDArray[np.uint8]:
    """Return a synthetic image as uint8 [S, S, 3] of the suite's side. Raises ``DataError``."""
    from PIL import Image

    try:
        image = as_rgb(open_image(path.read_bytes()))
    except (OSError, SyntaxError) as e:
        raise DataError(f"the synthetic image {path} cannot be read ({e}); delete its folder and run again") from e
    if image.size != (size_px, size_px):
        image = image.resize((size_px, size_px), Image.Resampling.BICUBIC)
    return np.asarray(image, dtype=np.uint8)
