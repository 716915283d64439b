"""Results rows in MLflow: the run of a row, its parameters and its metric points. Pure functions."""

from __future__ import annotations

import hashlib
import io
import json
import math
import posixpath
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from bench.cost.keys import CostKey
from bench.cost.usage import USAGE, read_usage
from bench.store.csv_cells import Writer
from bench.store.history import HISTORY, read_history
from bench.suite.arms import Arm
from bench.tracking.headline import is_headline
from bench.types import ResultRow

GENERATOR_STAGES: Final = (
    *("fit", "synthesize", "select", "fidelity", "memorised", "translate", "discriminator_classifier"),
)
CLASSIFIER_STAGES: Final = ("classify", "evaluate", "explain")
SEGMENTATION_STAGES: Final = ("segmentation",)  # one run per segmentation network of an arm
SHARED_STAGES: Final = ("fcn_score",)  # one run per fold, shared by the methods
TRIAL_STAGES: Final = ("trial",)  # one run per trial of a tuning study
POINTS_PER_METRIC: Final = 200  # the MLflow UI shows no more; history.csv in the store has every step
NO_SETTINGS: Final = ("config", "host", "versions", "work", "git_commit", "predictions", "thresholds")
ALL_ARMS: Final = "all"  # the arm of what serves all of them, such as the FCN score network
LONGEST_NAME: Final = 250  # characters, MLflow's limit
STAGES: Final = GENERATOR_STAGES + CLASSIFIER_STAGES + SEGMENTATION_STAGES + SHARED_STAGES + TRIAL_STAGES


def unit_name(row: ResultRow) -> str | None:
    """Return the name of the run that a row belongs to; None for rows without a run (splits, skipped cells)."""
    if row.status == "skipped" or row.stage not in STAGES:
        return None
    if row.stage in TRIAL_STAGES:
        return f"trial{row.facts['trial']:04d}"
    parts = ["segmentation" if row.stage in SHARED_STAGES else row.method]
    if row.stage in CLASSIFIER_STAGES + SEGMENTATION_STAGES:
        parts += [f"r{row.ratio}", row.classifier]
    elif row.ratio is not None:  # selected images of one arm
        parts += [f"r{row.ratio}"]
    size = [] if row.train_patients is None else [f"patients{row.train_patients}"]
    return "/".join([*map(str, parts), *size, f"fold{row.fold}", f"repeat{row.repeat}"])


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Flatten nested mappings to dotted keys with text values, as MLflow stores parameters.

    If two keys collide, as in ``{"a.b": 1, "a": {"b": 2}}``, the later one gets a hash as suffix.
    """
    flat: dict[str, str] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        found = flatten(value, f"{name}.") if isinstance(value, Mapping) else {name: str(value)}
        for at, text in found.items():
            flat[at if at not in flat else f"{at}-{digest(repr((prefix, key)))}"] = text
    return flat


def row_entry(row: ResultRow) -> str:
    """Return the entry of a row in a run's ``bench.rows``: its stage, key, status and a hash of its content.

    The time of a failure is not included, because it changes whenever the failure is read.
    """
    at = row.finished_at if row.status == "done" else ""
    values = [row.metrics, row.costs, row.facts, row.error, row.folder, at]
    content = json.dumps(values, sort_keys=True, default=str)
    return f"{row.stage}:{row.key}:{row.status}:{digest(content)}"


def digest(text: str) -> str:
    """Return 12 hex digits of the SHA-256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def safe_name(name: str) -> str:
    """Return a name that MLflow accepts: letters, digits and ``_-./ :``, at most 250 characters, a normalised path.

    A changed name ends with a hash of the original, so that different names stay different.
    """
    clean = re.sub(r"[^\w\-./ :]", "_", name)
    if posixpath.normpath(clean) != clean or clean.startswith(("/", "..")) or clean == ".":
        clean = re.sub(r"[/.]", "_", clean)
    if clean == name and len(name) <= LONGEST_NAME:
        return name
    return f"{clean[: LONGEST_NAME - 13]}-{digest(name)}"


def cut(text: str, limit: int) -> str:
    """Return the text, or its beginning and a mark if it has more than ``limit`` characters."""
    mark = f"… (cut, {len(text)} characters)"
    return text if len(text) <= limit else text[: limit - len(mark)] + mark


def span_ms(row: ResultRow) -> tuple[int, int]:
    """Return start and end of a row's work in ms since 1970, from ``finished_at`` and its elapsed time."""
    try:
        end = int(datetime.fromisoformat(row.finished_at).timestamp() * 1000)
    except ValueError:
        end = 0
    elapsed = row.costs.get(CostKey.ELAPSED_S, 0.0)
    return max(0, end - int(1000 * elapsed) if math.isfinite(elapsed) else end), end


def coordinates(row: ResultRow) -> dict[str, str]:
    """Return a row's coordinates, used as tags and also as parameters, because MLflow's charts use only those."""
    named = {n: getattr(row, n) for n in ("method", "classifier", "ratio", "fold", "repeat", "train_patients")}
    arm = Arm.parse(row.method, row.ratio).label if row.method else ALL_ARMS
    return {name: str(value) for name, value in named.items() if value is not None} | {"arm": arm}


def fact_params(row: ResultRow) -> dict[str, str]:
    """Return a row's facts as parameters, prefixed with its stage, without those about the machine."""
    facts = {k: v for k, v in row.facts.items() if k not in NO_SETTINGS}
    return flatten(facts, f"{row.stage}.")


def fact_metrics(row: ResultRow) -> dict[str, float]:
    """Return a row's facts that are numbers, such as ``synthesize/images`` and ``classify/best_step``."""
    facts = {f"{row.stage}/{k}": v for k, v in row.facts.items() if k not in NO_SETTINGS}
    return {k: float(v) for k, v in facts.items() if isinstance(v, (int, float)) and not isinstance(v, bool)}


Point = tuple[str, float, int, int]  # name, value, time in ms, step


def numbers(row: ResultRow) -> dict[str, float]:
    """Return all numbers of a row by name: facts that are numbers, metrics, costs as ``cost/<stage>/…``."""
    return {**fact_metrics(row), **row.metrics, **{f"cost/{row.stage}/{k}": v for k, v in row.costs.items()}}


def numbers_table(row: ResultRow) -> str:
    """Return ``numbers`` as CSV: name, value."""
    text = io.StringIO()
    table = Writer(text, lineterminator="\n")
    table.writerow(("name", "value"))
    table.writerows(sorted(numbers(row).items()))
    return text.getvalue()


def metric_points(folder: Path | None, row: ResultRow, classes: Sequence[str] = ()) -> list[Point]:
    """Return a row's metric points: history thinned evenly, then those of ``numbers`` that are ``is_headline``.

    ``classes`` are the names of the data set's classes.
    """
    start, end = span_ms(row)
    history: dict[str, list[tuple[int, float]]] = {}
    for step, name, value in read_history(folder / HISTORY) if folder else ():
        history.setdefault(_curve_name(row.stage, name), []).append((step, value))
    last_step = max((step for points in history.values() for step, _ in points), default=0)
    found = []
    for name, points in history.items():
        kept = _thinned(points)
        found += [(safe_name(name), v, start + (end - start) * s // max(last_step, 1), s) for s, v in kept]
    final = {name: value for name, value in numbers(row).items() if is_headline(name, classes)}
    return found + [(safe_name(k), float(v), end, last_step) for k, v in final.items()]


def _curve_name(stage: str, name: str) -> str:
    """Rename a classifier's validation scores by step to ``train/…``; ``validation/…`` are its final scores."""
    return name.replace("validation/", "train/validation_", 1) if stage in ("classify", "segmentation") else name


def usage_points(folder: Path, run_start_ms: int) -> list[Point]:
    """Return a cell's resource usage as MLflow system metrics; steps are seconds since the start of its run."""
    series: dict[str, list[tuple[int, float]]] = {}
    for at, name, value in read_usage(folder / USAGE):
        series.setdefault(f"system/{name}", []).append((at, value))
    return [
        (safe_name(name), value, at, max(0, at - run_start_ms) // 1000)
        for name, points in series.items()
        for at, value in _thinned(points)
    ]


def _thinned(points: list[tuple[int, float]]) -> list[tuple[int, float]]:
    """Return every n-th point, including the last one, so that MLflow can plot all of them."""
    stride = math.ceil(len(points) / POINTS_PER_METRIC) or 1
    return points[::-stride][::-1]
