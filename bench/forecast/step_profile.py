"""Costs of a method's training steps: interleaved timing, FLOPs, share of the device's peak, peak memory.

Blocks of the steps are timed in turn, so that other load on the machine affects all of them equally; the ratio of two
steps is the median over the turns. Memory is measured in a separate process for each step.
"""

from __future__ import annotations

import math
import multiprocessing
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from bench.abilities import Profiled
from bench.cost.keys import CostKey
from bench.cost.system_memory import resident_bytes
from bench.cost.timers import PeakMemory

BLOCK_S = 0.5  # a block has as many steps as fit in, at least one
PEAK_SIZE = {"cpu": 1024, "cuda": 8192}  # side of the square matrices whose product gives the peak


@dataclass(frozen=True)
class StepCost:
    """The costs of one step. ``seconds`` are those of one step, one value per block.

    ``flops`` are those of one step by torch's counter, forward and backward: a multiplication and an addition count
    two; elementwise operations are not counted. ``peak_flops_per_s`` is the best of the device's matrix products in
    ``dtype``.
    """

    name: str
    pairs: int
    dtype: str
    seconds: tuple[float, ...]
    flops: int
    peak_flops_per_s: float
    peak_memory_bytes: int | None = None

    @property
    def step_s(self) -> float:
        """Median seconds of a step."""
        return statistics.median(self.seconds)

    @property
    def pairs_per_s(self) -> float:
        """Pairs of images per second."""
        return self.pairs / self.step_s

    @property
    def share_of_peak(self) -> float:
        """FLOPs per second relative to the peak."""
        return self.flops / self.step_s / self.peak_flops_per_s


@dataclass(frozen=True)
class Ratio:
    """Speed-up over the first step: ratio of seconds, median and quartiles over the turns."""

    name: str
    median: float
    low: float
    high: float


@dataclass(frozen=True)
class StepProfile:
    """All steps of a method at one size; ratios refer to the first of them."""

    steps: tuple[StepCost, ...]
    ratios: tuple[Ratio, ...] = field(default=())


def profile_steps(
    method: Profiled, image_size_px: int, batch_size: int, device: str, blocks: int, memory: Mapping[str, int] | None
) -> StepProfile:
    """Measure every training step that a method has; ``memory`` (see ``peak_memory``) is passed in."""
    offered = method.training_steps(image_size_px, batch_size, device)
    flops = {name: count_flops(step.count()) for name, step in offered.items()}
    seconds = alternate({name: step.build() for name, step in offered.items()}, device, blocks)
    peaks = {dtype: measured_peak(device, dtype) for dtype in {step.dtype for step in offered.values()}}
    costs = [
        StepCost(
            name, batch_size, step.dtype, tuple(seconds[name]), flops[name], peaks[step.dtype], (memory or {}).get(name)
        )
        for name, step in offered.items()
    ]
    first, *others = costs
    return StepProfile(tuple(costs), tuple(ratio(first, other) for other in others))


def alternate(steps: Mapping[str, Callable[[], object]], device: str, blocks: int) -> dict[str, list[float]]:
    """Return the seconds per step, one value per block, of interleaved steps; every other turn is in reverse order."""
    for step in steps.values():  # the first call allocates, chooses algorithms, compiles
        timed(step, 1, device)
    counts = {name: max(1, math.ceil(BLOCK_S / timed(step, 1, device))) for name, step in steps.items()}
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for block in range(blocks):
        for name in list(steps) if block % 2 == 0 else reversed(list(steps)):
            seconds[name].append(timed(steps[name], counts[name], device) / counts[name])
    return seconds


def timed(step: Callable[[], object], times: int, device: str) -> float:
    """Return the wall seconds of that many calls, including the device's work."""
    start = time.perf_counter()
    for _ in range(times):
        step()
    if device.startswith("cuda"):
        import torch

        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def ratio(first: StepCost, other: StepCost) -> Ratio:
    """Return the ratio of the seconds of ``first`` to those of ``other``, turn by turn."""
    turns = [a / b for a, b in zip(first.seconds, other.seconds, strict=True)]
    low, _, high = statistics.quantiles(turns, n=4) if len(turns) > 1 else turns * 3
    return Ratio(other.name, statistics.median(turns), low, high)


def count_flops(step: Callable[[], object], warm: bool = True) -> int:
    """Return the FLOPs of one call, see ``flop_counter``; with ``warm`` of the second call, which may do less."""
    if warm:
        step()
    with flop_counter() as counter:
        step()
    return int(counter.total)


def flop_counter() -> Any:
    """Return a context whose ``total`` is the FLOPs in it by torch's formulas, including backward passes.

    It differs from ``FlopCounterMode`` in two points: the per-module hooks of that class fail for gradients with
    respect to leaves that are not parameters, and its formula for the backward pass of a convolution counts depthwise
    ones as if they were dense. Here each gradient, with respect to the input or the weight, counts the same as the
    forward pass.
    """
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils.flop_counter import conv_flop_count, flop_registry

    def convolution_backward(gradient: Any, x: Any, weight: Any, *rest: Any, out_val: Any, **_: Any) -> int:
        transposed, wanted = rest[4], rest[7]
        return sum(wanted[:2]) * conv_flop_count(x.shape, weight.shape, gradient.shape, transposed=transposed)

    formulas = {**flop_registry, torch.ops.aten.convolution_backward: convolution_backward}

    class Counter(TorchDispatchMode):
        total = 0

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            out = func(*args, **(kwargs or {}))
            if func._overloadpacket in formulas:
                self.total += formulas[func._overloadpacket](*args, **(kwargs or {}), out_val=out)
            return out

    return Counter()


def measured_peak(device: str, dtype: str, times: int = 10) -> float:
    """Return the FLOPs per second of the best of several square matrix products (on CUDA in cuDNN's arithmetic)."""
    import torch

    kind = torch.device(device).type
    size = PEAK_SIZE[kind]
    left, right = (torch.rand(size, size, device=device).to(getattr(torch, dtype)) for _ in range(2))
    allowed = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32
    try:
        best = min(timed(lambda: left @ right, 1, device) for _ in range(times + 2))
    finally:
        torch.backends.cuda.matmul.allow_tf32 = allowed
    return 2 * size**3 / best


def peak_memory(
    make: Callable[..., Profiled], arguments: Sequence[Any], names: Sequence[str], threads: int
) -> dict[str, int]:
    """Return each step's peak memory in bytes, measured in a separate process.

    ``make(*arguments[:-3])`` builds the method there; the last three arguments are image size, batch size and device.
    On CUDA: allocated by torch. On a CPU: the growth of the resident set, including networks, optimisers and the
    libraries loaded for them.
    """
    found = {}
    for name in names:
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
            found[name] = process.submit(_peak_memory, make, tuple(arguments), name, threads).result()
    return found


def _peak_memory(make: Callable[..., Profiled], arguments: tuple[Any, ...], name: str, threads: int) -> int:
    import torch

    torch.set_num_threads(threads)
    *building, image_size_px, batch_size, device = arguments
    offered = make(*building).training_steps(image_size_px, batch_size, device)
    torch.rand(64, 64, device=device) @ torch.rand(64, 64, device=device)  # libraries and the CUDA context
    before = 0 if device.startswith("cuda") else resident_bytes()
    with PeakMemory(device, interval_s=0.005) as memory:
        step = offered[name].build()
        timed(step, 3, device)
    return int(memory.costs()[CostKey.PEAK_MEMORY_BYTES]) - before
