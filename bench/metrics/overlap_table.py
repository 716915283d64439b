"""Table of the masks predicted for a fold's test images, one row per image, and its means."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from bench.errors import DataError
from bench.files import write_atomic
from bench.store.csv_cells import DictWriter, read_rows

MEASURES = ("lesion_dice", "lesion_iou", "lesion_hd95_px")


@dataclass(frozen=True)
class Outlined:
    """One image: its path, group and class; its scores by ``bench.metrics.overlap``; foreground pixels of both masks.

    ``hd95_px`` is in pixels of the original image; ``true_px`` and ``found_px`` are counted at the suite's image size.
    """

    image: str
    group: str
    label: str
    dice: float
    iou: float
    hd95_px: float
    true_px: int
    found_px: int


def write_outlined(path: Path, rows: Iterable[Outlined]) -> None:
    """Write one row per image, numbers without loss of precision."""
    text = io.StringIO()
    out = DictWriter(text, [f.name for f in fields(Outlined)], lineterminator="\n")
    out.writeheader()
    out.writerows(asdict(row) for row in rows)
    write_atomic(path, text.getvalue())


def read_outlined(path: Path) -> list[Outlined]:
    """Read what ``write_outlined`` wrote. Raises ``DataError``."""
    kind: dict[str, Any] = {"dice": float, "iou": float, "hd95_px": float, "true_px": int, "found_px": int}
    try:
        with open(path, encoding="utf-8", newline="") as f:
            return [Outlined(**{k: kind.get(k, str)(v) for k, v in row.items()}) for row in read_rows(f)]
    except (OSError, ValueError, TypeError) as e:
        raise DataError(f"{path} is not a table of masks ({type(e).__name__}: {e}); run its cell again") from e


def mean_scores(rows: Sequence[Outlined], classes: Sequence[str]) -> dict[str, float]:
    """Return means over images; a mean is missing if there are no such images.

    ``MEASURES`` are over the images with lesions: those whose true mask, at the suite's size, is not empty.
    ``missed_share`` is the share of these with an empty prediction, ``false_alarm_share`` the share of the others with
    a non-empty prediction. ``dice`` is over all images, ``dice_<class>`` over those of a class; there, an image without
    lesions counts 1 if the prediction is empty and 0 otherwise.
    """
    if not rows:
        raise DataError(
            "no image of the test part has a mask: nothing can be evaluated; add masks, or remove segmentation_networks"
        )
    lesions, empty = [r for r in rows if r.true_px], [r for r in rows if not r.true_px]
    found: dict[str, float] = {}
    if lesions:
        found = {name: _mean([getattr(r, name.removeprefix("lesion_")) for r in lesions]) for name in MEASURES}
        found["missed_share"] = _mean([float(r.found_px == 0) for r in lesions])
    if empty:
        found["false_alarm_share"] = _mean([float(r.found_px > 0) for r in empty])
    found["dice"] = _mean([r.dice for r in rows])
    for name in classes:
        if of_class := [r.dice for r in rows if r.label == name]:
            found[f"dice_{name}"] = _mean(of_class)
    return found


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))
