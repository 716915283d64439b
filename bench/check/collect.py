"""A finished run -> rows: status, sizes, losses, scores and image metrics of every cell, read from its folder."""

from __future__ import annotations

import json
import math
import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from bench.check.rows import Row, stage_of
from bench.data.synthetic_files import MANIFEST
from bench.engine.plan_rows import rows_of
from bench.engine.session import Session
from bench.leakage import PARTS
from bench.plan.plan import Cell
from bench.store.cell_folders import Artifacts
from bench.store.csv_cells import read_rows
from bench.store.history import HISTORY, read_history
from bench.types import At, ResultRow

# Scores of a test part. Accuracy, precision, F1 and MCC follow from sensitivity and specificity for fixed sizes.
SCORES = ("balanced_accuracy", "sensitivity", "specificity", "auroc", "auprc", "brier", "ece")
PATIENT_SCORES = ("score", "balanced_accuracy", "auroc", "brier")
BY_PATIENT = ("balanced_accuracy", "auroc")  # patient-level scores whose smallest step is one patient, not one image
COUNTED = ("n_real", "n_synthetic", "kid_subset_size")  # sample sizes of the fidelity metrics
SHARES = ("precision", "recall", "coverage", "share", "authpct")  # image metrics that are shares of images
FACTS = (
    "parameters",
    "images",
    "real_images",
    "synthetic_images",
    "training_images",
    "test_images",
    "steps_run",
    "images_seen",
)
COSTS = ("flops_per_step", "steps")  # exact costs of a training


def collect(session: Session) -> list[Row]:
    """Return the rows of all cells of the plan from their folders; only the status of a cell that is not done."""
    artifacts = Artifacts(session.env.out)
    found: dict[tuple[str, str, str], Row] = {}
    sizes = Sizes(session)
    for cell, row in zip(session.plan.cells, rows_of(session.plan, session.env), strict=True):
        for r in _of_cell(cell, row, artifacts.folder(*cell.id), sizes):
            found.setdefault(r.key, r)
    return [*found.values(), *means(found.values())]


def means(rows: Iterable[Row]) -> list[Row]:
    """Return the mean of each score and image metric over all cells of a stage that have it; NaN cells are left out.

    A mean over cells changes far less with rounding than a single cell, so it detects a loss of a few points.
    Sensitivity and specificity change in opposite directions with rounding; their mean, balanced accuracy, does not.
    """
    values: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        one_sided = row.quantity.endswith(("sensitivity", "specificity"))
        if row.kind in ("score", "image") and isinstance(row.value, float) and not one_sided:
            values.setdefault((f"all {stage_of(row.cell)}", row.quantity), []).append(row.value)
    finite = {key: [v for v in found if math.isfinite(v)] for key, found in values.items() if len(found) > 1}
    return [Row("mean", *key, statistics.fmean(found) if found else math.nan) for key, found in finite.items()]


class Sizes:
    """Numbers of images and groups per class and part of a fold, which give the smallest step of a share."""

    def __init__(self, session: Session) -> None:
        self._records = session.plan.index.by_path()
        self._classes = session.plan.index.classes
        self._of: dict[At, dict[str, Counter[str]]] = {}

    def read(self, cell: Cell, path: Path) -> dict[str, Counter[str]]:
        """Return {part: {class: images}} of a saved split, and store the numbers of images and groups of its fold."""
        parts = json.loads(path.read_text(encoding="utf-8"))["parts"]
        images: dict[str, Counter[str]] = {}
        groups: dict[str, Counter[str]] = {}
        for part in PARTS:
            records = [self._records[p] for paths in parts[part].values() for p in paths]
            images[part] = Counter(self._classes[r.label] for r in records)
            groups[part] = Counter(self._classes[label] for label, _ in {(r.label, r.group_id) for r in records})
        self._of[cell.at] = {
            **images,
            **{f"{part} patients": count for part, count in groups.items()},
        }
        return self._of[cell.at]

    def quantum(self, cell: Cell, part: str) -> float:
        """Return 1 / (size of the smallest class) of a part ('test', 'test patients', …) of the cell's fold."""
        counts = self._of.get(cell.at, {}).get(part)
        return 1 / min(counts.values()) if counts else 0.0


def _of_cell(cell: Cell, row: ResultRow, folder: Path, sizes: Sizes) -> Iterator[Row]:
    name = cell.title
    yield Row("cell", name, "status", _status(row))
    if row.status != "done":
        return
    if cell.stage == "split":
        for part, classes in sizes.read(cell, folder / "split.json").items():
            yield from (Row("fact", name, f"{part}, {c}", float(n)) for c, n in classes.items())
    yield from (Row("fact", name, k, float(v)) for k, v in _facts(row.facts, row.costs))
    if (folder / MANIFEST).is_file():
        yield from _images_per_class(name, folder / MANIFEST)
    yield from (Row("loss", name, quantity, value) for quantity, value in first_and_last(folder / HISTORY))
    yield from _metrics(cell, row.metrics, sizes)


def _status(row: ResultRow) -> str:
    first = (row.error or "").partition("\n")[0]
    return row.status if row.status == "done" or not first else f"{row.status}: {first}"


def _facts(facts: Mapping[str, Any], costs: Mapping[str, float]) -> Iterator[tuple[str, float]]:
    yield from ((k, float(facts[k])) for k in FACTS if k in facts)
    yield from ((k, costs[k]) for k in COSTS if k in costs)


def _images_per_class(name: str, manifest: Path) -> Iterator[Row]:
    with manifest.open(newline="", encoding="utf-8") as f:
        made = Counter(line["label"] for line in read_rows(f))
    yield from (Row("fact", name, f"images of class {label}", float(n)) for label, n in made.items())


def first_and_last(history: Path) -> list[tuple[str, float]]:
    """Return the first and the last value of every loss in a ``history.csv``, named with their steps.

    First values follow few updates, so rounding errors in them are small and a changed loss is detected. Validation
    scores are left out, because the test scores are compared.
    """
    series: dict[str, list[tuple[int, float]]] = {}
    for step, name, value in read_history(history):
        if "loss" in name or not name.startswith("validation/"):
            series.setdefault(name, []).append((step, value))
    ends: dict[str, float] = {}
    for name, values in series.items():
        for step, value in (values[0], values[-1]):
            ends[f"{name} at step {step}"] = value
    return list(ends.items())


def _metrics(cell: Cell, metrics: Mapping[str, float], sizes: Sizes) -> Iterable[Row]:
    for name, value in metrics.items():
        if cell.stage == "evaluate":
            wanted = name.removeprefix("test/")
            patients = wanted.startswith("patient_")
            if name.startswith("test/") and wanted.removeprefix("patient_") in (PATIENT_SCORES if patients else SCORES):
                whole = patients and wanted.removeprefix("patient_") in BY_PATIENT
                yield Row("score", cell.title, name, value, sizes.quantum(cell, "test patients" if whole else "test"))
        elif any(word in name for word in COUNTED):
            yield Row("fact", cell.title, name, value)
        else:
            yield Row("image", cell.title, name, value, _image_quantum(cell, name, sizes))


def _image_quantum(cell: Cell, name: str, sizes: Sizes) -> float:
    """Return the change of a share of images by one image; 0 for other metrics."""
    if not any(word in name for word in SHARES):
        return 0.0
    return sizes.quantum(cell, "test") * (100 if "authpct" in name else 1)
