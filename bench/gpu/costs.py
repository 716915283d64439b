"""Seconds, memory and energy of a training step of every family of methods, by image size and batch size."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from bench.cost.sandbox import is_out_of_memory
from bench.forecast.profile_points import Subject, measure
from bench.forecast.profiles import Point
from bench.gpu.job import DONE, NO_TIME, Job, Result
from bench.gpu.steps import release
from bench.suite.plugins import make_plugin

METHODS = ("cgan", "cyclegan", "tlsgan_resnet50_scratch", "tlsgan_vgg16_scratch")
SIZES_PX = (256, 128, 512)
BATCHES = (1, 4)
CALLS, CALLS_S = 10_000, 1.0  # until either: the energy counter of a device advances in tenths of a second
LATE = "not measured: out of time"
ONE_POINT_S = 12.0  # a measurement is not started with less time left
NEEDS_TWO = ("cgan",)  # batch norm at one pixel


def run(job: Job) -> Result:
    """Measure every combination that an earlier call did not; those without time are marked."""
    known = {(p["name"], p["image_size_px"], p["batch"]): p for p in job.earlier.get("points", []) if not p["problem"]}
    points: list[dict[str, Any]] = []
    small = {"filters": 4, "blocks": 1, "disc_filters": 4, "head_width": 4} if job.dry else {}
    for size_px in (32,) if job.dry else SIZES_PX:
        for name in ("cgan", "cyclegan") if job.dry else METHODS:
            for batch in (2, *BATCHES[1:]) if name in NEEDS_TWO else BATCHES:
                point = known.get((name, size_px, batch))
                points.append(point or _point(job, name, size_px, batch, small).plain())
                job.keep({"points": points})
    done = [p for p in points if not p["problem"]]
    with_energy = sum(p["energy_j"] is not None for p in done)
    words = f"{len(done)} of {len(points)} combinations, {with_energy} with energy"
    status = NO_TIME if any(p["problem"] == LATE for p in points) else DONE
    return Result(words, {"points": points}, job.decided(len(done) == len(points) == with_energy), status)


def _point(job: Job, name: str, size_px: int, batch: int, small: dict[str, int]) -> Point:
    empty = Point("training", name, size_px, batch)
    if not job.dry and job.left_s < ONE_POINT_S:
        return replace(empty, problem=LATE)
    release(job)
    settings: dict[str, Any] = {"filters": 64, "compile": "graphs", **small}
    spec = make_plugin("method", name, {})
    spec = replace(spec, config=replace(spec.config, **{k: v for k, v in settings.items() if hasattr(spec.config, k)}))
    try:
        return measure(
            Subject("training", spec), size_px, batch, job.device, None, 2 if job.dry else CALLS, CALLS_S, False
        )
    except Exception as e:
        text = "does not fit into the memory" if is_out_of_memory(e) else f"{type(e).__name__}: {e}"[:200]
        return replace(empty, problem=text)
