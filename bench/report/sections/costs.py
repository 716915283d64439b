"""Cost: what a generator takes, whether it is worth its compute, and every measured resource in a collapsed table."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from bench.analysis.costs import MethodCost
from bench.analysis.info import ReportInfo
from bench.analysis.report import Records
from bench.analysis.rows import Score
from bench.report.content import Block, Details, Section, Table, charts
from bench.report.sections.compute import compute_sentences
from bench.report.text import DASH, count_of, seconds, size

TERMS = {
    "Training (fold), In steps, Peak memory": (
        "wall time of the generator's training including data loading, and its part spent in steps; peak memory of the "
        "process (CPU) or allocated on the device, maximum over folds."
    ),
    "Device, Generator share, GFLOP per step, Share of peak FLOP/s, Energy": (
        "CPU time, or the time for which a GPU was allocated; share of step time up to the generator update; "
        "floating-point operations of one step, forward and backward; achieved FLOP/s divided by those of a matrix "
        "product on this machine; energy of the whole GPU by its own counter."
    ),
}
SHORT = ("Method", "Training (fold)", "Synthesis (fold)", "Peak memory", "GFLOP per step")


def sections(records: Records, info: ReportInfo) -> Iterator[Section]:
    """Yield the cost of the generators, and the answer of the compute-matched comparison."""
    blocks: list[Block] = [*compute_sentences(records.matches, info)]
    if records.costs:
        whole = _table(records.costs)
        short = whole.without(*(h for h in whole.heads if h not in SHORT))
        blocks += (
            [short, Details("Every measured resource", (whole,))] if len(whole.heads) > len(short.heads) else [whole]
        )
    yield Section("Cost", tuple(blocks), 20, False, TERMS if records.costs else {}, charts("cost") if blocks else ())


def _table(costs: Sequence[MethodCost]) -> Table:
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
    left = 1 + (set(columns["Weights"]) != {DASH})
    return Table.by_column(columns, left, "Cost of the generators", keep_empty=False)


def _share(score: Score) -> str:
    return f"{score.mean:.0%}" if score.n else DASH


def _parameters(text: str) -> str:
    return f"{float(text) / 1e6:.2f} M" if text.replace(".", "", 1).isdigit() else text or DASH


def _time(score: Score) -> str:
    spread = f" ± {score.sd:.1f}" if math.isfinite(score.sd) and score.mean < 120 else ""
    return seconds(score.mean).replace(" s", f"{spread} s") if spread else seconds(score.mean)
