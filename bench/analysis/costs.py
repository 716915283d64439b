"""Cost of each generative method. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.analysis.info import ReportInfo
from bench.analysis.rows import NAN, Rows, Score
from bench.types import ResultRow


@dataclass(frozen=True)
class MethodCost:
    """Cost of a generative method per pair (fold × repeat): seconds, bytes, images. NaN if not measured."""

    method: str
    fit_s: Score
    step_s: Score
    synthesis_s: Score
    images: Score
    images_per_s: Score
    peak_memory_bytes: float
    device_s: Score
    flops_per_step: float
    share_of_peak: Score
    generator_share: Score  # share of step time
    energy_j: Score
    parameters: str
    weights: str


def method_costs(rows: Rows, info: ReportInfo) -> tuple[MethodCost, ...]:
    """Return the cost of each generative method with a trained generator."""
    found = []
    for method in info.generative:
        fits, made = (rows.done(stage, method, info.pairs) for stage in ("fit", "synthesize"))
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
                device_s=_cost(fits, "device_s"),
                flops_per_step=_cost(fits, "flops_per_step").mean,
                share_of_peak=_cost(fits, "share_of_peak"),
                generator_share=Score.of(_generator_share(r.costs) for r in fits),
                energy_j=_cost(fits, "energy_j"),
                parameters=_fact(fits[0].facts, "parameters"),
                weights=_fact(fits[0].facts, "weights"),
            )
        )
    return tuple(found)


def _cost(rows: list[ResultRow], name: str) -> Score:
    return Score.of(r.costs.get(name, NAN) for r in rows)


def _generator_share(costs: Mapping[str, float]) -> float:
    both = costs.get("generator_step_s", NAN) + costs.get("discriminator_step_s", NAN)
    return costs["generator_step_s"] / both if both > 0 else NAN


def _fact(facts: Mapping[str, Any], name: str) -> str:
    """Return a fact as text, from the top level or from the method's facts file."""
    value = facts.get(name, (facts.get("facts") or {}).get(name, ""))
    if isinstance(value, Mapping):
        return str(value.get("source") or ", ".join(f"{k}: {v}" for k, v in value.items()))
    return str(value)
