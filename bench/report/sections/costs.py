"""Table of the cost of the generators."""

from __future__ import annotations

import math
from collections.abc import Sequence

from bench.analysis.costs import MethodCost
from bench.analysis.rows import Score
from bench.report.text import DASH, count_of, seconds, size, table


def cost_section(costs: Sequence[MethodCost]) -> list[str]:
    """Return heading and table; [] without a trained generator."""
    return ["## Cost of the generators\n", _cost_table(costs)] if costs else []


def _cost_table(costs: Sequence[MethodCost]) -> str:
    columns = {
        "Method": [f"`{c.method}`" for c in costs],
        "Weights": [c.weights or DASH for c in costs],
        "Parameters": [_parameters(c.parameters) for c in costs],
        "Training (fold)": [_time(c.fit_s) for c in costs],
        "In steps": [seconds(c.step_s.mean) for c in costs],
        "Device": [seconds(c.device_s.mean) for c in costs],
        "Generator share": [_share(c.generator_share) for c in costs],
        "GFLOP per step": [f"{c.flops_per_step / 1e9:.3g}" if math.isfinite(c.flops_per_step) else DASH for c in costs],
        "Share of peak FLOP/s": [_share(c.share_of_peak) for c in costs],
        "Energy": [f"{c.energy_j.mean / 1e3:.3g} kJ" if c.energy_j.n else DASH for c in costs],
        "Synthesis (fold)": [_time(c.synthesis_s) for c in costs],
        "Images": [count_of(c.images.mean) for c in costs],
        "Peak memory": [size(c.peak_memory_bytes) for c in costs],
    }
    columns = {head: texts for head, texts in columns.items() if set(texts) != {DASH}}
    return table(list(columns), zip(*columns.values(), strict=True), left=2)


def _share(score: Score) -> str:
    return f"{score.mean:.0%}" if score.n else DASH


def _parameters(text: str) -> str:
    return f"{float(text) / 1e6:.2f} M" if text.replace(".", "", 1).isdigit() else text or DASH


def _time(score: Score) -> str:
    spread = f" ± {score.sd:.1f}" if math.isfinite(score.sd) and score.mean < 120 else ""
    return seconds(score.mean).replace(" s", f"{spread} s") if spread else seconds(score.mean)
