"""What each method cost, and how its images compare with real ones: records for the report. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.report.info import Arm, ReportInfo
from bench.report.tables import NAN, Rows, Score
from bench.types import ResultRow

QUALITY = ("kid", "fid", "precision", "recall", "density", "coverage")
FLOOR = "real training images"


@dataclass(frozen=True)
class MethodCost:
    """A generative method's compute per pair: seconds, bytes, and what it made. NaN where it was not measured."""

    method: str
    fit_s: Score
    step_s: Score
    synthesis_s: Score
    images: Score
    images_per_s: Score
    peak_memory_bytes: float
    parameters: str
    weights: str


@dataclass(frozen=True)
class Quality:
    """Synthetic images (or, as the floor, real training images) against real images of ``part``, by one extractor.

    ``scores`` by measure (kid, fid, precision, …); ``n_real``, ``n_synthetic`` and ``kid_subset_size`` are means.
    """

    method: str
    part: str
    extractor: str
    scores: Mapping[str, Score]


def method_costs(rows: Rows, info: ReportInfo) -> tuple[MethodCost, ...]:
    """Return the cost of each generative method that got as far as a trained generator."""
    found = []
    for method in info.generative:
        fits, made = (_done(rows, stage, method, info) for stage in ("fit", "synthesize"))
        if not fits:
            continue
        found.append(
            MethodCost(
                method=method,
                fit_s=_cost(fits, "elapsed_s"),
                step_s=_cost(fits, "step_s"),
                synthesis_s=_cost(made, "elapsed_s"),
                images=Score.of(float(r.facts.get("images", NAN)) for r in made),
                images_per_s=_cost(made, "images_per_s"),
                peak_memory_bytes=max((r.costs.get("peak_memory_bytes", NAN) for r in fits), default=NAN),
                parameters=_fact(fits[0].facts, "parameters"),
                weights=_fact(fits[0].facts, "weights"),
            )
        )
    return tuple(found)


def image_quality(rows: Rows, info: ReportInfo) -> tuple[Quality, ...]:
    """Return quality records by extractor, part and method; for each part the floor comes first."""
    values: dict[tuple[str, str, str], dict[str, list[float]]] = {}
    for method in info.generative:
        for row in _done(rows, "fidelity", method, info):
            for name, value in row.metrics.items():
                where, part, measure = name.split("/", 2)
                kind, _, tag = measure.partition("_")
                for longer in ("kid_subset_size", "n_real", "n_synthetic"):
                    if measure.startswith(f"{longer}_"):
                        kind, tag = longer, measure.removeprefix(f"{longer}_")
                who = FLOOR if where == "real" else method
                values.setdefault((tag, part, who), {}).setdefault(kind, []).append(value)
    order = [FLOOR, *info.methods]
    keys = sorted(values, key=lambda k: (k[0], k[1], order.index(k[2])))
    return tuple(Quality(who, part, tag, _scores(values[tag, part, who])) for tag, part, who in keys)


def _scores(values: Mapping[str, list[float]]) -> dict[str, Score]:
    return {kind: Score.of(found) for kind, found in values.items()}


def _done(rows: Rows, stage: str, method: str, info: ReportInfo) -> list[ResultRow]:
    found = [rows.generator(stage, Arm(method), pair) for pair in info.pairs]
    return [r for r in found if r and r.status == "done"]


def _cost(rows: list[ResultRow], name: str) -> Score:
    return Score.of(r.costs.get(name, NAN) for r in rows)


def _fact(facts: Mapping[str, Any], name: str) -> str:
    """Return a fact as text, wherever the method put it: at the top, or in its own facts file."""
    value = facts.get(name, (facts.get("facts") or {}).get(name, ""))
    if isinstance(value, Mapping):
        return str(value.get("source") or ", ".join(f"{k}: {v}" for k, v in value.items()))
    return str(value)
