"""Exactness of resume: a training that was killed and resumed, compared with one that was not.

Some CUDA operations add in a changing order, so two equal trainings can differ. Therefore the uninterrupted training
runs twice, and the resumed one must not differ more from the first than ``SLACK`` times what the second does, or than
``ROUNDING``. A resume that loses a state, such as an optimiser's, differs by far more.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from bench.gpu.checks import temporary
from bench.gpu.job import Job, Result
from bench.gpu.small_trainings import fit, fit_classifier, largest_difference, weights_in

SLACK, ROUNDING = 3.0, 1e-6
TRAININGS: dict[str, tuple[str, dict[str, Any]]] = {  # name in the results -> method and settings
    "cyclegan, reference step": ("cyclegan", {"step": "reference"}),
    "cyclegan, bfloat16, CUDA graphs": ("cyclegan", {"compile": "graphs", "pool_size": 3, "flip": True}),
    "tlsgan_resnet50_scratch, float32": ("tlsgan_resnet50_scratch", {"amp": False, "compile": "off"}),
    "cgan": ("cgan", {}),
}
DRY = ("cyclegan, reference step",)


def run(job: Job) -> Result:
    """Compare final weights and all logged losses of every training."""
    import torch

    os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"  # before the first matrix product of this process
    torch.use_deterministic_algorithms(True, warn_only=True)
    found: dict[str, dict[str, float]] = {}
    for title in DRY if job.dry else TRAININGS:
        with temporary(job) as folder:
            found[title] = compared(title, folder, job.device)
        job.keep(found)
    with temporary(job) as folder:
        found["classifier small_cnn"] = classifier(folder, job.device)
    exact = sum(not differences["resumed"] for differences in found.values())
    fine = all(d["resumed"] <= max(SLACK * d["repeated"], ROUNDING) for d in found.values())
    largest = max(differences["resumed"] for differences in found.values())
    words = f"{exact} of {len(found)} equal to the bit"
    words += "" if exact == len(found) else f", largest relative difference {largest:.1e}"
    return Result(words, found, fine)


def compared(title: str, folder: Path, device: str) -> dict[str, float]:
    """Return the largest relative difference of a repeated and of a resumed training to the first one."""
    name, settings = TRAININGS[title]
    losses = {
        run: fit(name, folder / run, device, 5 if run == "resumed" else None, **settings)
        for run in ("first", "repeated", "resumed")
    }
    weights = {run: weights_in(folder / run) for run in losses}
    return {
        run: max(largest_difference(kept["first"], kept[run]) for kept in (losses, weights))
        for run in ("repeated", "resumed")
    }


def classifier(folder: Path, device: str) -> dict[str, float]:
    """Return the same of a classifier's weights."""
    options = {"steps": 12, "batch_size": 8, "evaluate_every": 4, "checkpoint_every": 4}
    weights = {}
    for run in ("first", "repeated", "resumed"):
        network = fit_classifier("small_cnn", folder / run, device, 10 if run == "resumed" else None, **options)
        weights[run] = {name: tensor.cpu() for name, tensor in network.state_dict().items()}
    return {run: largest_difference(weights["first"], weights[run]) for run in ("repeated", "resumed")}
