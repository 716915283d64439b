"""Time and memory of the CycleGAN's training step at 256 px: by batch size, by what makes it fast, against the peak.

The steps are measured one after the other, each alone in memory: at a large batch two do not fit together.
"""

from __future__ import annotations

import gc
import json
import math
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from bench.cost.sandbox import is_out_of_memory
from bench.forecast.step_profile import BLOCK_S, count_flops, measured_peak, timed
from bench.gpu.job import Job, Result, method_of
from bench.types import ProfiledStep

LEAST_RATIO, MOST_MEMORY, LEAST_SHARE = 5.0, 0.6, 0.35  # expected on a data-centre GPU
BLOCKS = 5
SIZE_PX, DRY_SIZE_PX, DRY_BATCH = 256, 32, 2
DRY = {"filters": 4, "blocks": 1, "disc_filters": 4}
DTYPES = ("float32", "bfloat16")
MODES: dict[str, tuple[str, dict[str, Any]]] = {  # what makes the fast step fast, one more in each row
    "reference, float32": ("reference", {}),
    "fast order, float32": ("fast", {"amp": False, "compile": "off"}),
    "fast order, bfloat16": ("fast", {"compile": "off"}),
    "fast order, float32, CUDA graphs": ("fast", {"amp": False, "compile": "graphs"}),
    "fast order, bfloat16, CUDA graphs": ("fast", {"compile": "graphs"}),
}


def by_batch(job: Job, batch: int) -> Result:
    """Measure reference and fast step (bfloat16, CUDA graphs, not compiled) at a batch size."""
    batch = min(batch, DRY_BATCH) if job.dry else batch
    steps = offered(job, batch, compile="graphs")
    flops = {name: batch * count_flops(step.count()) for name, step in offered(job, 1).items()}
    found: dict[str, Any] = {}
    for name, step in steps.items():
        release(job)
        found[name] = {**measured(step, job), "dtype": step.dtype, "flops": flops[name]}
        job.keep(found)
    release(job)
    peaks = {dtype: measured_peak(job.device, dtype) for dtype in {step.dtype for step in steps.values()}}
    for entry in found.values():
        entry["peak_flops_per_s"] = peaks[entry["dtype"]]
        if "step_s" in entry:
            entry["pairs_per_s"] = batch / entry["step_s"]
            entry["share_of_peak"] = entry["flops"] / entry["step_s"] / entry["peak_flops_per_s"]
    return _compared(job, batch, found)


def _compared(job: Job, batch: int, found: dict[str, Any]) -> Result:
    reference, fast = found["reference"], found["fast"]
    if "problem" in fast:
        raise RuntimeError(f"fast step: {fast['problem']}")
    words = f"{fast['pairs_per_s']:.3g} pairs/s, {fast['share_of_peak']:.0%} of the peak"
    words += "".join(f"; {text}" for text in warnings(fast))
    if "problem" in reference:
        return Result(f"{words}; reference: {reference['problem']}", found)
    found["ratio"] = reference["step_s"] / fast["step_s"]
    words = f"{found['ratio']:.2f} times as fast, {words}"
    fine = found["ratio"] >= LEAST_RATIO
    if job.on_cuda:
        found["memory_share"] = fast["peak_memory_bytes"] / reference["peak_memory_bytes"]
        words += f", {found['memory_share']:.0%} of the memory"
        fine = fine and found["memory_share"] < MOST_MEMORY
    return Result(words, found, job.decided(fine) if batch == 1 else None)


def by_mode(job: Job) -> Result:
    """Measure the step at batch size 1 with more and more of what makes it fast; the first losses show rounding."""
    found: dict[str, Any] = {}
    for title, (name, settings) in MODES.items():
        release(job)
        found[title] = measured(offered(job, 1, **settings)[name], job)
        job.keep(found)
    return _modes_result(found)


def compiled(job: Job) -> Result:
    """Measure the compiled and recorded step at batch size 1, and the seconds that its compilation takes.

    The dry form does not compile, which takes most of a minute on a CPU.
    """
    found = {}
    for title, compile_ in (("CUDA graphs", "graphs"), ("compiled, CUDA graphs", "graphs" if job.dry else "on")):
        release(job)
        found[title] = measured(offered(job, 1, compile=compile_)["fast"], job)
        job.keep(found)
    result = _modes_result(found)
    prepare_s = found["compiled, CUDA graphs"].get("prepare_s", math.nan)
    return Result(f"{result.words}; {prepare_s:.0f} s to compile", found)


def _modes_result(found: dict[str, Any]) -> Result:
    first = next(iter(found.values()))
    for entry in found.values():
        if "step_s" in entry and "step_s" in first:
            entry["ratio"] = first["step_s"] / entry["step_s"]
    parts = [f"{title}: {c['ratio']:.2f}" for title, c in list(found.items())[1:] if "ratio" in c]
    parts += [f"{title}: {c['problem']}" for title, c in found.items() if "problem" in c]
    parts += [text for c in found.values() for text in warnings(c)]
    return Result(f"speed-up over {next(iter(found))}: " + ", ".join(parts), found)


def warnings(measured: dict[str, Any]) -> list[str]:
    """Return why a step does not run in the mode that was asked for, if so."""
    return [str(text) for name, text in measured["facts"].items() if name == "training_step_warning"]


def share_of_peak(job: Job) -> Result:
    """Measure the device's peaks; the best share of the steps by batch size is read from their results."""
    found: dict[str, Any] = {dtype: {"matrix_flops_per_s": measured_peak(job.device, dtype)} for dtype in DTYPES}
    for dtype in DTYPES:
        found[dtype]["convolution_flops_per_s"] = convolution_peak(job, dtype)
        job.keep(found)
    found["copy_bytes_per_s"] = copy_speed(job)
    shares = {batch: share for batch in (1, 4, 16, 64) if (share := _share(job, batch))}
    peak = found["bfloat16"]
    words = f"bfloat16: matrix product {peak['matrix_flops_per_s'] / 1e12:.3g} TFLOP/s"
    words += f", convolution {peak['convolution_flops_per_s'] / 1e12:.3g}"
    if not shares:
        return Result(f"{words}; no step was measured", found)
    batch = max(shares, key=lambda b: shares[b])
    found["shares"] = shares
    words = f"step: {shares[batch]:.0%} at batch size {batch}; {words}"
    return Result(words, found, job.decided(shares[batch] >= LEAST_SHARE))


def _share(job: Job, batch: int) -> float | None:
    try:
        record = json.loads((job.out / f"steps-{batch}.json").read_text(encoding="utf-8"))
        share: float = record["figures"]["fast"]["share_of_peak"]
        return share
    except (OSError, ValueError, KeyError):
        return None


def convolution_peak(job: Job, dtype: str) -> float:
    """Return the FLOPs per second of a convolution as in the generator's residual blocks, forward."""
    batch, channels, side = (1, 16, 16) if job.dry else (16, 256, 64)
    kind = getattr(torch, dtype)
    layer = torch.nn.Conv2d(channels, channels, 3, padding=1, bias=False, device=job.device, dtype=kind)
    layer = layer.to(memory_format=torch.channels_last)
    x = torch.rand(batch, channels, side, side, device=job.device).to(kind, memory_format=torch.channels_last)
    torch.backends.cudnn.benchmark = True
    with torch.inference_mode():
        best = min(timed(lambda: layer(x), 10, job.device) / 10 for _ in range(4))
    return 2 * 9 * channels**2 * batch * side**2 / best


def copy_speed(job: Job) -> float:
    """Return the bytes per second, read and written, of a copy in the device's memory."""
    size = 2**20 if job.dry else 2**30
    block = torch.zeros(size, dtype=torch.uint8, device=job.device)
    return 2 * size / min(timed(block.clone, 3, job.device) / 3 for _ in range(4))


def offered(job: Job, batch: int, **settings: Any) -> dict[str, ProfiledStep]:
    """Return both training steps of the CycleGAN."""
    method = method_of("cyclegan", **(DRY if job.dry else {}), **settings)
    found: dict[str, ProfiledStep] = method.training_steps(DRY_SIZE_PX if job.dry else SIZE_PX, batch, job.device)
    return found


def measured(step: ProfiledStep, job: Job) -> dict[str, Any]:
    """Return seconds per step, peak memory (CUDA), first losses and facts; or ``problem`` if it does not fit."""
    before = torch.cuda.memory_allocated(job.device) if job.on_cuda else 0
    if job.on_cuda:
        torch.cuda.reset_peak_memory_stats(job.device)
    try:
        start = time.perf_counter()
        call: Callable[[], Any] = step.build()
        losses = {name: loss.item() for name, loss in call().items()}
        prepare_s = time.perf_counter() - start
        timed(call, 2, job.device)
        count = max(1, math.ceil((0.01 if job.dry else BLOCK_S) / timed(call, 1, job.device)))
        blocks = [timed(call, count, job.device) / count for _ in range(2 if job.dry else BLOCKS)]
    except Exception as e:
        if is_out_of_memory(e):
            return {"problem": "does not fit into the memory", "facts": step.facts}
        raise
    found = {"step_s": statistics.median(blocks), "block_step_s": blocks, "prepare_s": prepare_s}
    if job.on_cuda:
        found["peak_memory_bytes"] = torch.cuda.max_memory_allocated(job.device) - before
        found["peak_reserved_bytes"] = torch.cuda.max_memory_reserved(job.device)
    return {**found, "first_losses": losses, "facts": dict(step.facts)}


def release(job: Job) -> None:
    """Free the memory of earlier steps."""
    gc.collect()
    if job.on_cuda:
        torch.cuda.empty_cache()
