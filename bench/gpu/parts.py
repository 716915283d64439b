"""The parts in their order of priority: the cheapest and most valuable first.

``least_s`` is the time below which a part is not started, ``most_s`` its time limit. Both are estimates for a
data-centre GPU; the sum of what the parts are expected to take fits the default budget, compilation comes last.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from bench.gpu.job import Job, Result

STEP = "at batch 1: at least 5 times as fast, less than 60 % of the memory"


@dataclass(frozen=True)
class Part:
    """One part: ``name`` of its file, what it shows, what is expected, and "module:function" with arguments."""

    name: str
    title: str
    expected: str
    function: str
    least_s: float
    most_s: float
    arguments: Mapping[str, Any] = field(default_factory=dict)
    needs_data: bool = False

    def run(self, job: Job) -> Result:
        """Run it in this process."""
        module, _, name = self.function.partition(":")
        function: Callable[..., Result] = getattr(import_module(f"bench.gpu.{module}"), name)
        return function(job, **self.arguments)


PARTS = (
    Part("checks", "CUDA checks", "all pass; losses as on a CPU to 1e-3", "checks:run", 20, 110),
    Part("resume", "exactness of resume", "equals the uninterrupted training", "resume:run", 15, 60),
    *(
        Part(f"steps-{n}", f"step at 256 px, batch {n}", STEP if n == 1 else "", "steps:by_batch", 15, 70, {"batch": n})
        for n in (1, 4, 16, 64)
    ),
    Part("peak", "share of measured peak", "at least 35 % at the best batch size", "steps:share_of_peak", 8, 40),
    Part("modes", "bfloat16 and CUDA graphs, batch 1", "", "steps:by_mode", 15, 60),
    Part("costs", "memory and energy", "every combination, with energy", "costs:run", 20, 110),
    Part("fold", "one fold of breakhis, random weights", "all cells done", "fold:run", 40, 130, needs_data=True),
    Part("pytest", "other tests marked gpu", "all pass", "with_pytest:run", 25, 90),
    Part("compile", "compiled step, batch 1", "faster than CUDA graphs alone", "steps:compiled", 60, 180),
)
