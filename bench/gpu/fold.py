"""The first fold of the suite ``breakhis`` with few steps and random weights, by the code that runs a suite.

Real images if BENCH_DATA names their folder, otherwise the phantom, resized to the same side. Its cells are kept below
the results, so that a stopped fold continues.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.cost.keys import STEP_S, CostKey
from bench.engine.cell_run import run_cell
from bench.gpu.job import Job, Result
from bench.plan.make import make_plan
from bench.plan.selection import select
from bench.stages import RunEnv, load_index
from bench.suite.suite import Suite, load_suite
from bench.types import ResultRow

METHODS = ("none", "classical", "cyclegan", "tlsgan_resnet50_scratch", "tlsgan_vgg16_scratch")
PHANTOM = "dataset={name: phantom, image_size_px: 64, patients: 24, images_per_patient: 6}"
FEW = (
    "train_multipliers=[]", "ratios=[0.25]", "published=null",
    "methods.*gan*.steps=100", "methods.*gan*.sample_every=100", "methods.*gan*.checkpoint_every=50",
    "methods.*gan*.compile=graphs",
    "classifiers.efficientnet_b0=false", "classifiers.tf_efficientnet_lite0=false",
    "classifiers.resnet18={pretrained: false, steps: 100, batch_size: 32, evaluate_every: 50, checkpoint_every: 50}",
)  # fmt: skip
DRY = (
    "dataset={name: phantom, image_size_px: 32, patients: 10, images_per_patient: 2}", "image_size_px=32",
    "methods.*gan_*_scratch=false", "methods.cyclegan.steps=2", "methods.cyclegan.filters=4",
    "methods.cyclegan.blocks=1", "methods.cyclegan.disc_filters=4",
    "classifiers={small_cnn: {steps: 4, batch_size: 8, evaluate_every: 2}}",
)  # fmt: skip


def run(job: Job) -> Result:
    """Run split, training, sampling, classification and evaluation of the first fold."""
    data = job.data
    suite = small_suite(data, job.dry)
    out = job.out / "fold" / f"{job.record.code}-{job.device.replace(':', '-')}"
    index = load_index(suite, data, out / "cache")
    plan = make_plan(suite, index)
    env = RunEnv(out, suite, plan.fingerprint, data, job.device)
    rows: list[ResultRow] = []
    for cell in select(plan.cells, ["stage=evaluate", "fold=0"]):
        rows.append(run_cell(cell, env))
        job.keep({"cells": [described(row) for row in rows]})
        if rows[-1].status != "done":
            raise RuntimeError(f"{cell.title}: {str(rows[-1].error).splitlines()[0]}")
    scores = {str(r.method): r.metrics["auroc"] for r in rows if r.stage == "evaluate" and "auroc" in r.metrics}
    figures = {"images": len(index.records), "cells": [described(row) for row in rows], "auroc": scores}
    return Result(f"{len(rows)} cells done on {index.name}, {len(index.records)} images", figures, True)


def small_suite(data: Path | None, dry: bool) -> Suite:
    """Return the suite ``breakhis`` with few steps, few arms and random weights."""
    found = load_suite("breakhis", (), data)
    left_out = [f"methods.{m.name}=false" for m in found.methods if m.name not in METHODS]
    images = "dataset.magnification=100" if data else PHANTOM
    return load_suite("breakhis", (images, *FEW, *(DRY if dry else ()), *left_out), data)


def described(row: ResultRow) -> dict[str, Any]:
    """Return a cell's stage, arm, seconds and memory."""
    wanted = (CostKey.ELAPSED_S, STEP_S, CostKey.PEAK_MEMORY_BYTES, CostKey.ENERGY_J, CostKey.SHARE_OF_PEAK)
    costs = {str(key): row.costs[key] for key in wanted if key in row.costs}
    return {"stage": row.stage, "method": row.method, "classifier": row.classifier, "status": row.status, **costs}
