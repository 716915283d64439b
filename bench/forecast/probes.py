"""Single training steps and predictions of a suite's networks, measured outside any run.

Each uses the code that trains: a method's ``training_steps``, or the trainers of classifiers and of the segmentation
network, observed through their context. Images are random, because their content does not change the time.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench import registry
from bench.abilities import FitsStatistics, Profiled
from bench.cost.updates import UpdateClock
from bench.forecast.random_data import CLASSES, SAMPLES, RandomData, random_images
from bench.forecast.step_profile import count_flops, flop_counter, timed
from bench.forecast.workload import default_batch
from bench.leakage import PARTS, FoldParts, SourceImages
from bench.segmentation.config import SegmentationConfig
from bench.segmentation.network_config import SegmentationNetworkConfig
from bench.suite.suite import PluginSpec
from bench.types import ProfiledStep, Uint8Images

Meter = AbstractContextManager[Any]
FEW = {"sample_every": 1000, "checkpoint_every": 1000, "evaluate_every": 1000, "log_every": 1}


@dataclass(frozen=True)
class Probe:
    """Something whose single calls can be measured.

    ``seconds(n, limit_s, meter)`` prepares, warms up, and returns the wall seconds of each of up to ``n`` calls within
    ``meter``, stopping after ``limit_s``. ``flops()`` returns the FLOPs of one call, which processes ``images``.
    ``shares`` gives each network's share of a step's time by name, if a step updates several.
    """

    images: int
    seconds: Callable[[int, float, Meter], list[float]]
    flops: Callable[[], int] | None = None
    dtype: str = "float32"
    shares: Callable[[], Mapping[str, float]] | None = None
    parameters: Callable[[], int] | None = None


def generator_probe(spec: PluginSpec, image_size_px: int, batch_size: int | None, device: str) -> Probe | None:
    """Return the training step of a generative method; None for a method without a measurable step."""
    step = training_step(spec, image_size_px, batch_size, device)
    if step is None:
        return None
    order: Sequence[str] = getattr(spec.create(), "updates", ())
    return Probe(
        images=batch_size or default_batch(spec.config),
        seconds=lambda n, limit_s, meter: each(step.build(), n, limit_s, device, meter),
        flops=lambda: count_flops(step.count(), warm=False),
        dtype=step.dtype,
        shares=(lambda: update_shares(step.count(), order, device)) if order else None,
    )


def training_step(spec: PluginSpec, image_size_px: int, batch_size: int | None, device: str) -> ProfiledStep | None:
    """Return the training step for a method's config, at its default batch size for None and 0."""
    method = spec.create()
    if not isinstance(method, Profiled):
        return None
    offered = method.training_steps(image_size_px, batch_size or default_batch(spec.config), device)
    return offered.get(getattr(spec.config, "step", ""), next(iter(offered.values())))


def sampling_probe(spec: PluginSpec, image_size_px: int, device: str) -> Probe:
    """Return the generation of ``SAMPLES`` images by a generative method that was trained for a single step."""
    method = type(spec.create())(_few(spec.config, steps=1))
    data = RandomData(image_size_px)

    def seconds(n: int, limit_s: float, meter: Meter) -> list[float]:
        with tempfile.TemporaryDirectory() as folder:
            ctx = ProbeContext(Path(folder), device)
            method.fit(data, ctx)
            counts = {0: SAMPLES // 2, 1: SAMPLES // 2}
            return each(lambda: list(method.synthesize(data, counts, ctx.folder, ctx)), n, limit_s, device, meter)

    return Probe(SAMPLES, seconds)


def classifier_probe(
    spec: PluginSpec, online: PluginSpec | None, image_size_px: int, batch_size: int | None, device: str,
    weights: Path | None = None,
) -> Probe:  # fmt: skip
    """Return a classifier's training step on batches augmented by an online method (None: no augmentation)."""
    from bench.classifiers.trainer import train_classifier

    batch = batch_size or int(spec.config.batch_size)
    plain = registry.load("method", "none")
    augmenter = online.create() if online else plain(plain.Config())
    if isinstance(augmenter, FitsStatistics):
        augmenter.use_statistics(augmenter.fit_statistics(RandomData(image_size_px)))

    def build() -> Any:
        return spec.create().build(len(CLASSES), image_size_px, weights)

    def train(steps: int, ctx: ProbeContext) -> None:
        network = build()
        config = _few(spec.config, steps=steps, batch_size=batch)
        learnt, selection = RandomPart(image_size_px, batch, "train"), RandomPart(image_size_px, 2, "validation")
        train_classifier(network, learnt, selection, len(CLASSES), config, augmenter, ctx)

    def parameters() -> int:
        return sum(p.numel() for p in build().parameters())

    return replace(_trainer_probe(train, batch, device), parameters=parameters)


def inference_probe(
    spec: PluginSpec, image_size_px: int, batch_size: int | None, device: str, weights: Path | None = None
) -> Probe:
    """Return a classifier's prediction of a batch of images."""
    from bench.classifiers.trainer import predict

    batch = batch_size or int(spec.config.batch_size)

    def ready() -> Callable[[], object]:
        network = spec.create().build(len(CLASSES), image_size_px, weights).to(device)
        images = random_images(batch, image_size_px)
        return lambda: predict(network, images, device, batch)

    return Probe(
        batch,
        lambda n, limit_s, meter: each(ready(), n, limit_s, device, meter),
        lambda: count_flops(ready(), warm=False),
    )


def segmentation_probe(config: SegmentationConfig, image_size_px: int, device: str) -> Probe:
    """Return a training step of the segmentation network."""
    from bench.segmentation.network import UNet
    from bench.segmentation.trainer import MaskedImages, train_segmentation

    def train(steps: int, ctx: ProbeContext) -> None:
        images = random_images(config.batch_size, image_size_px)
        data = MaskedImages(images, (images[..., 0] > 127).astype(np.uint8))
        train_segmentation(UNet(config.filters), data, data, _few(config, steps=steps), ctx)

    return _trainer_probe(train, config.batch_size, device)


def segmentation_network_probe(
    config: SegmentationNetworkConfig, online: PluginSpec | None, image_size_px: int, device: str
) -> Probe:  # fmt: skip
    """Return a training step of a segmentation network on batches augmented by an online method, or plain ones."""
    from bench.segmentation.smp_unet import build_segmentation_network
    from bench.segmentation.trainer import MaskedImages, augmented, train_segmentation

    plain = registry.load("method", "none")
    augmenter = online.create() if online else plain(plain.Config())
    config = replace(config, encoder_weights="none")  # their values change no time

    def train(steps: int, ctx: ProbeContext) -> None:
        images = random_images(config.batch_size, image_size_px)
        data = MaskedImages(images, (images[..., 0] > 127).astype(np.uint8))
        train_segmentation(
            build_segmentation_network(config), data, data, _few(config, steps=steps), ctx, augmented(augmenter)
        )

    probe = _trainer_probe(train, config.batch_size, device)
    return replace(probe, parameters=lambda: sum(p.numel() for p in build_segmentation_network(config).parameters()))


def update_shares(step: Callable[[], object], order: Sequence[str], device: str, times: int = 2) -> dict[str, float]:
    """Return each network's share of a step's seconds; empty when updates cannot be observed."""
    step()
    clock = UpdateClock(order, device)
    with clock.running():
        for _ in range(times):
            step()
    total = sum(clock.seconds.values())
    heard = clock.updates == times * len(clock.order)
    return {name: seconds / total for name, seconds in clock.seconds.items()} if heard and total else {}


def each(call: Callable[[], object], n: int, limit_s: float, device: str, meter: Meter) -> list[float]:
    """Return the wall seconds of up to ``n`` calls within ``meter``, after one warm-up call; at least one."""
    timed(call, 1, device)
    seconds: list[float] = []
    start = time.perf_counter()
    with meter:
        while not seconds or (len(seconds) < n and time.perf_counter() - start < limit_s):
            seconds.append(timed(call, 1, device))
    return seconds


def _trainer_probe(train: Callable[[int, ProbeContext], None], batch: int, device: str) -> Probe:
    """Observe the steps of a trainer: it is started with more steps than needed, and stopped when time is up."""

    def seconds(n: int, limit_s: float, meter: Meter) -> list[float]:
        with tempfile.TemporaryDirectory() as folder:
            ctx = ProbeContext(Path(folder), device, limit_s)
            with meter, suppress(_TimeIsUp):
                train(1 + n, ctx)
        return ctx.seconds[1:] or ctx.seconds  # the first step warms up

    def flops() -> int:
        with tempfile.TemporaryDirectory() as folder:
            ctx = ProbeContext(Path(folder), device, counting=True)
            train(1, ctx)
        return ctx.flops

    return Probe(batch, seconds, flops)


class _TimeIsUp(Exception):
    """Ends a training that has been measured long enough."""


class ProbeContext:
    """A ``RunContext`` that records only the seconds, or the FLOPs, of training steps."""

    def __init__(self, folder: Path, device: str, limit_s: float = float("inf"), counting: bool = False) -> None:
        self.folder, self.device, self.seed, self.limit_s, self.counting = folder, device, 0, limit_s, counting
        self.weights: Path | None = None
        self.cache: Path | None = None
        self.seconds: list[float] = []
        self.flops = 0

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time, or count, the steps."""
        if name != "step":
            yield
            return
        if len(self.seconds) > 1 and sum(self.seconds[1:]) > self.limit_s:
            raise _TimeIsUp
        counter = flop_counter() if self.counting else nullcontext()
        start = time.perf_counter()
        with counter:
            yield
        timed(lambda: None, 1, self.device)  # the device's work ends with the block
        self.seconds.append(time.perf_counter() - start)
        self.flops += getattr(counter, "total", 0)

    def log(self, step: int, total: int, metrics: Mapping[str, float]) -> None:
        """Do nothing."""

    def fidelity(self, images: Uint8Images, labels: npt.NDArray[np.int64]) -> Mapping[str, float]:
        """Do nothing: only training is measured."""
        return {}

    def save_checkpoint(self, state: Mapping[str, Any]) -> None:
        """Do nothing."""

    def load_checkpoint(self) -> dict[str, Any] | None:
        """Return None: every training here starts new."""
        return None

    def save_images(self, name: str, step: int, images: Uint8Images) -> None:
        """Do nothing."""


class RandomPart:
    """A part of a simulated fold: random images of two classes, with source images that pass the leakage checks."""

    fold_parts = FoldParts("a profile", {p: SourceImages(groups=frozenset({f"group of {p}"})) for p in PARTS})

    def __init__(self, size_px: int, n: int, part: Any) -> None:
        self.images = random_images(max(n, 2), size_px)
        self.labels: npt.NDArray[np.int64] = np.arange(max(n, 2)) % len(CLASSES)
        self.source_images = self.fold_parts.parts[part]


def _few(config: Any, **values: Any) -> Any:
    """Return the config with these values, without steps that happen only occasionally."""
    known = {k: v for k, v in {**FEW, **values}.items() if hasattr(config, k)}
    return replace(config, **known)
