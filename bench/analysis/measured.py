"""Measurements of cells by pair, so that two reports can be compared without their stores. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from bench.analysis.info import ReportInfo
from bench.analysis.quality import MEASURES, SIZES, VARIETY
from bench.analysis.rows import NAN, Pair, Rows
from bench.cost.keys import CostKey
from bench.plan.plan import STAGES
from bench.types import ResultRow

SYNTHETIC = tuple(f"{m}_" for m in (*MEASURES, *VARIETY))  # an extractor's tag follows


@dataclass(frozen=True)
class Measured:
    """The finished cells of one stage and arm, by pair; '' for coordinates that the stage does not have.

    ``device_s`` are device seconds; ``images`` the metrics of synthetic images, memorised samples and translations, by
    their names in the store. (The scores of classifiers are in the lines.)
    """

    stage: str
    method: str
    ratio: str
    classifier: str
    device_s: Mapping[Pair, float]
    images: Mapping[str, Mapping[Pair, float]]


def measured(rows: Rows, info: ReportInfo) -> tuple[Measured, ...]:
    """Return a record for each stage and arm, in the order of the stages."""
    found = []
    for stage in STAGES:
        cells: dict[tuple[str, str, str], dict[Pair, ResultRow]] = {}
        for r in rows.all(stage):
            pair = (r.fold or 0, r.repeat or 0)
            if r.status == "done" and pair in info.pairs:
                cells.setdefault((r.method or "", r.ratio or "", r.classifier or ""), {})[pair] = r
        for at, by_pair in cells.items():
            seconds = {pair: r.costs.get(CostKey.DEVICE_S, NAN) for pair, r in by_pair.items()}
            found.append(Measured(stage, *at, {p: s for p, s in seconds.items() if math.isfinite(s)}, _images(by_pair)))
    return tuple(found)


def _images(by_pair: Mapping[Pair, ResultRow]) -> dict[str, dict[Pair, float]]:
    found: dict[str, dict[Pair, float]] = {}
    for pair, row in by_pair.items():
        for name, value in row.metrics.items():
            if is_of_images(row.stage, name) and math.isfinite(value):
                found.setdefault(name, {})[pair] = value
    return found


def is_of_images(stage: str, name: str) -> bool:
    """Whether a metric is of all images of a method: not a real-vs-real baseline, a size, or of one direction."""
    where, _, last = name.rpartition("/")
    if stage == "fidelity":
        is_measure = last.startswith(SYNTHETIC) and not last.startswith(SIZES)
        return is_measure and where in ("synthetic", "synthetic/test", "synthetic/train")
    return stage == "memorised" or (stage == "translate" and name.count("/") == 1)
