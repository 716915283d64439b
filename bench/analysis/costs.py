"""Cost of each generative method. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.analysis.info import ReportInfo
from bench.analysis.rows import NAN, Rows, Score
from bench.cost.keys import STEP_S, CostKey
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
                fit_s=_cost(fits, CostKey.ELAPSED_S),
                step_s=_cost(fits, STEP_S),
                synthesis_s=_cost(made, CostKey.ELAPSED_S),
                images=Score.of(float(r.facts.get("images", NAN)) for r in made),
                images_per_s=_cost(made, CostKey.IMAGES_PER_S),
                peak_memory_bytes=max((r.costs.get(CostKey.PEAK_MEMORY_BYTES, NAN) for r in fits), default=NAN),
                device_s=_cost(fits, CostKey.DEVICE_S),
                flops_per_step=_cost(fits, CostKey.FLOPS_PER_STEP).mean,
                share_of_peak=_cost(fits, CostKey.SHARE_OF_PEAK),
                generator_share=Score.of(_generator_share(r.costs) for r in fits),
                energy_j=_cost(fits, CostKey.ENERGY_J),
                parameters=_fact(fits[0].facts, "parameters"),
                weights=_fact(fits[0].facts, "weights"),
            )
        )
    return tuple(found)


def _cost(rows: list[ResultRow], name: str) -> Score:
    return Score.of(r.costs.get(name, NAN) for r in rows)


def _generator_share(costs: Mapping[str, float]) -> float:
    both = costs.get(CostKey.GENERATOR_STEP_S, NAN) + costs.get(CostKey.DISCRIMINATOR_STEP_S, NAN)
    return costs[CostKey.GENERATOR_STEP_S] / both if both > 0 else NAN


def _fact(facts: Mapping[str, Any], name: str) -> str:
    """Return a fact as text, from the top level or from the method's facts file."""
    value = facts.get(name, (facts.get("facts") or {}).get(name, ""))
    if isinstance(value, Mapping):
        return str(value.get("source") or ", ".join(f"{k}: {v}" for k, v in value.items()))
    return str(value)
