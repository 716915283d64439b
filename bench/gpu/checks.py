"""Checks of what only a CUDA device can show, as plain functions: ``tests/test_gpu.py`` and the part ``checks`` call
them.

Each takes a device and a folder for its files, returns a few words, and raises ``AssertionError`` if it fails.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.cost.keys import CostKey
from bench.cost.timers import PeakMemory
from bench.gpu.job import Job, Result, method_of
from bench.gpu.small_trainings import SMALL, Colours, coloured, fit, fit_classifier, largest_difference
from bench.stages.context import CellContext

Check = Callable[[str, Path], str]
TRANSLATORS = ("cyclegan", "tlsgan_resnet50_scratch", "tlsgan_vgg16_scratch")
GENERATIVE = ("cgan", *TRANSLATORS)
LOSS_TOLERANCE = 1e-3  # relative, of float32 on CPU and CUDA, and of the two orders of passes
GRAPH_TOLERANCE = 1e-2  # relative, after four steps


def trains_and_samples(name: str, device: str, folder: Path) -> str:
    """A method trains with its default precision, continues after an interruption, and makes images."""
    options = {} if name == "cyclegan" else {"compile": "graphs"}  # 'auto' measures the modes first, which takes time
    losses = fit(name, folder, device, interrupt_at=5, **options)
    assert all(map(math.isfinite, losses.values())), f"losses that are not finite: {losses}"
    ctx = CellContext(folder, device, 0, None)
    made = list(method_of(name, **SMALL).synthesize(Colours(64, 16), {0: 3, 1: 3}, folder, ctx))
    assert len(made) == 6, f"got {len(made)} images, expected 6"
    assert all(np.ptp(i.image) > 0 for i in made), "an image has one value only"
    return f"{len(losses)} losses finite, 6 images"


def same_losses_as_cpu(device: str, folder: Path) -> str:
    """The first logged losses of a training without bfloat16 are those on a CPU."""
    with full_float32():
        options: dict[str, Any] = {"steps": 1, "amp": False, "compile": "off"}
        on_cpu, on_device = (fit("cyclegan", folder / f"{i}", d, **options) for i, d in enumerate(("cpu", device)))
    difference = largest_difference(on_cpu, on_device)
    assert difference <= LOSS_TOLERANCE, f"relative difference {difference:.2g}, expected at most {LOSS_TOLERANCE:g}"
    return f"relative difference {difference:.1e}"


def fast_step_is_reference(name: str, device: str, folder: Path) -> str:
    """The first losses of the fast step in float32 are those of the published order of passes."""
    with full_float32():
        reference, fast = (losses_of_steps(name, device, 1, step) for step in ("reference", "fast"))
    difference = largest_difference(reference, fast)
    assert difference <= LOSS_TOLERANCE, f"relative difference {difference:.2g}, expected at most {LOSS_TOLERANCE:g}"
    return f"relative difference {difference:.1e}"


def recorded_step_is_eager(options: dict[str, Any], device: str, folder: Path) -> str:
    """Four steps recorded as CUDA graphs give the losses of four eager steps."""
    eager, recorded = (losses_of_steps("cyclegan", device, 4, "fast", compile=c, **options) for c in ("off", "graphs"))
    difference = largest_difference(eager, recorded)
    assert difference <= GRAPH_TOLERANCE, f"relative difference {difference:.2g}, expected at most {GRAPH_TOLERANCE:g}"
    return f"relative difference {difference:.1e}"


def classifier_learns(device: str, folder: Path) -> str:
    """A small classifier separates two colours."""
    from bench.classifiers.trainer import predict

    network = fit_classifier("small_cnn", folder, device, steps=40, batch_size=8, evaluate_every=10)
    labels = np.arange(32) % 2
    accuracy = float((predict(network, coloured(labels, 32), device, 8).argmax(1) == labels).mean())
    assert accuracy > 0.9, f"accuracy {accuracy:.2f}, expected above 0.9"
    return f"accuracy {accuracy:.2f}"


def peak_memory_is_measured(device: str, folder: Path) -> str:
    """The measured peak contains a block of 64 MiB that was allocated and freed."""
    with PeakMemory(device) as memory:
        block = torch.ones(64 * 2**20, dtype=torch.uint8, device=device)
        del block
    peak = memory.costs()[CostKey.PEAK_MEMORY_BYTES]
    assert 64 * 2**20 <= peak < 2**32, f"got {peak} bytes"
    return f"{peak / 2**20:.0f} MiB"


CHECKS: dict[str, Check] = {
    "same losses as on a CPU": same_losses_as_cpu,
    **{f"{name} trains, resumes, samples": partial(trains_and_samples, name) for name in GENERATIVE},
    **{f"{name}: fast step is the reference": partial(fast_step_is_reference, name) for name in TRANSLATORS},
    "recorded step is eager": partial(recorded_step_is_eager, {}),
    "recorded step is eager, with pool": partial(recorded_step_is_eager, {"pool_size": 3}),
    "recorded step is eager, with clipping": partial(
        recorded_step_is_eager, {"clip_grad_norm": 1.0, "spectral_norm": True}
    ),
    "classifier learns": classifier_learns,
    "peak memory is measured": peak_memory_is_measured,
}
DRY = ("same losses as on a CPU", "cyclegan: fast step is the reference", "classifier learns")


def run(job: Job) -> Result:
    """Run all checks; a failed one does not stop the others, and fails the part at its end."""
    found: dict[str, str] = {}
    failed: dict[str, str] = {}
    for name in DRY if job.dry else CHECKS:
        try:
            with temporary(job) as folder:
                found[name] = CHECKS[name](job.device, folder)
        except Exception as e:  # also a method that cannot be built; the others still say something
            failed[name] = f"{type(e).__name__}: {e}"[:300]
        job.keep({"passed": found, "failed": failed})
    assert not failed, "; ".join(f"{name}: {text}" for name, text in failed.items())
    return Result(f"{len(found)} of {len(found)} passed", {"passed": found, "failed": failed}, True)


@contextmanager
def temporary(job: Job) -> Iterator[Path]:
    """Yield a folder below the results that is removed at the end."""
    import tempfile

    with tempfile.TemporaryDirectory(dir=job.out, prefix=".files-") as folder:
        yield Path(folder)


@contextmanager
def full_float32() -> Iterator[None]:
    """Within the block, convolutions on CUDA do not round to TF32."""
    allowed = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = allowed


def losses_of_steps(name: str, device: str, steps: int, step: str, **options: Any) -> dict[tuple[int, str], float]:
    """Return the losses of the first steps in float32, by number and name, from a fixed seed on random images."""
    config = {**SMALL, "amp": False, "compile": "off", **options}
    train_step = method_of(name, **config).training_steps(64, 2, device)[step].build()
    found: dict[tuple[int, str], float] = {}
    for i in range(steps):
        losses: Any = train_step()
        found |= {(i, key): loss.item() for key, loss in losses.items()}
    return found
