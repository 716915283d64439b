"""How the fast step is run: as it is, recorded as CUDA graphs, compiled, or both.

``compile: off`` runs it as it is. ``on`` compiles it (and records it on CUDA). ``auto`` chooses, on CUDA only, what
takes the least time for the steps that are left, preparation included, by a short measurement that is kept in the cache
folder; the next training of that shape on that host does not measure again. On a CPU ``auto`` goes by a rule, since
compiled code rounds otherwise, and a choice made by a stop-watch would let the same command give other numbers another
day: the generators are compiled for a training of ``LONG_TRAINING`` steps and more, nothing for a shorter one.

What cannot be compiled or recorded (no C++ compiler, an operator without support) is run as it is, and the facts of the
training say why: it never fails for that.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import platform
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from bench.types import Size, height_width
from tlsgan import penalties
from tlsgan.config import CycleGANConfig
from tlsgan.fast_step import FastStep, Function, Terms, Translations
from tlsgan.image_pool import ImagePool
from tlsgan.step import Batch, ReferenceStep, Team, TrainStep

EAGER, GRAPHS, COMPILED, BOTH = "as it is", "CUDA graphs", "compiled", "compiled, CUDA graphs"
BACKEND = "inductor"
EXPECTED_COMPILE_S = 120.0  # of a shape that was never compiled here
EXPECTED_GAIN = 0.5  # share of a step's time that compiling saves at best
LONG_TRAINING = 2_000  # steps from which compiling the generators repays on a CPU
WARM_UP, TIMED = 3, 10  # steps of a measurement
# What of a config decides how long a step takes, and how to prepare it; rates, seeds and lengths do not.
SHAPE = (
    "batch_size", "filters", "blocks", "norm", "discriminator", "disc_filters", "head_width",
    "trained_stages", "head", "class_on_both", "imagenet_normalisation",
    "spectral_norm", "diffaug", "joint_batch_statistics", "amp",
)  # fmt: skip
SWITCHES = ("pool_size", "lambda_identity", "lambda_class")  # of these only whether they are above 0


@dataclass(frozen=True)
class Measured:
    """Seconds to prepare a way of running the step, and to run it once; ``error`` says why it cannot be had."""

    prepare_s: float
    step_s: float
    error: str = ""


def make_step(
    team: Team, config: CycleGANConfig, device: str, image_size_px: Size, steps_left: int, cache: Path | None
) -> tuple[TrainStep, dict[str, Any]]:
    """Return the config's step, ready to run, and facts: its name, how it is run, and a warning if not as asked for."""
    if config.step == "reference":
        return ReferenceStep(team, config), {"training_step": "reference"}
    builder = Builder(team, config, device, image_size_px)
    on_cuda = torch.device(device).type == "cuda"
    if on_cuda:  # shapes never change; what ``seed_everything`` chose is repeatable and slow
        torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = True, False
    short = not on_cuda and config.steps < LONG_TRAINING  # of the whole, so that a resumed one goes on as it began
    if config.compile == "off" or (config.compile == "auto" and short):
        way, warning = EAGER, ""
    elif config.compile == "on" or not on_cuda:
        way, warning = (BOTH if on_cuda else COMPILED), ""
    else:
        way, warning = choose(builder, steps_left, cache)
    train_step: TrainStep
    try:
        train_step = builder.prepared(way)
    except Exception as e:  # compilers fail in many ways, none of which is a reason not to train
        way, warning = EAGER, f"not {way}: {describe(e)}"
        train_step = builder.prepared(EAGER)
    facts = {"training_step": f"fast, {way}"}
    return train_step, {**facts, "training_step_warning": warning} if warning else facts


class Builder:
    """Makes the fast step in one of the ways, and leaves networks, moments and random states as they were."""

    def __init__(self, team: Team, config: CycleGANConfig, device: str, image_size_px: Size):
        self.team, self.config, self.device = team, config, device
        self.shape = (config.batch_size, 3, *height_width(image_size_px))

    def prepared(self, way: str) -> TrainStep:
        """Return the step; unless it runs as it is, it has been tried once. Raises whatever goes wrong."""
        train_step = self._build(way)
        if way != EAGER:
            with Unchanged(self.team):
                train_step(1, *self._images())
        return train_step

    def measure(self, way: str) -> Measured:
        """Time a way of running the step on random images."""
        start = time.perf_counter()
        try:
            train_step = self.prepared(way)
            with Unchanged(self.team):
                images = self._images()
                seconds = [self._time(train_step, images, n) for n in (WARM_UP, TIMED)]
            return Measured(time.perf_counter() - start - sum(seconds), seconds[-1] / TIMED)
        except Exception as e:  # see above
            return Measured(math.inf, math.inf, describe(e))

    def _time(self, train_step: TrainStep, images: list[torch.Tensor], steps: int) -> float:
        start = time.perf_counter()
        for _ in range(steps):
            train_step(1, *images)
        if torch.device(self.device).type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter() - start

    def _build(self, way: str) -> TrainStep:
        compile_ = compiler() if way in (COMPILED, BOTH) else None
        fast = FastStep(self.team, self.config, self.device, compile_)
        return RecordedStep(fast) if way in (GRAPHS, BOTH) else fast

    def _images(self) -> list[torch.Tensor]:
        images = [torch.rand(self.shape, device=self.device) * 2 - 1 for _ in "ab"]
        masks = 2 if self.config.label_fraction < 1 else 0
        return images + masks * [torch.ones(self.shape[0], device=self.device)]


def compiler() -> Callable[[Function], Function]:
    """Return what compiles a pass. Shapes are fixed: a step has two of them, one image batch and two together."""
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # it warns where there is no CUDA
    torch._dynamo.reset()  # what earlier trainings of this process compiled counts against a limit
    return lambda function: torch.compile(function, backend=BACKEND, dynamic=False)


def describe(e: Exception) -> str:
    """Return the kind and the first line of an error."""
    return f"{type(e).__name__}: {next(iter(str(e).splitlines()), '')}"[:300]


def choose(builder: Builder, steps_left: int, cache: Path | None) -> tuple[str, str]:
    """Return the way that takes the least time for the steps left, and a warning if another one failed."""
    path = cache / "training_steps" / f"{shape_key(builder)}.json" if cache else None
    known = read_measurements(path)
    for way in (EAGER, GRAPHS, BOTH):
        if way in known or (way == BOTH and not worth_compiling(known.values(), steps_left)):
            continue
        known[way] = builder.measure(way)
        write_measurements(path, known)
    failed = "; ".join(f"not {way}: {m.error}" for way, m in known.items() if m.error)
    return cheapest(known, steps_left), failed


def cheapest(known: Mapping[str, Measured], steps_left: int) -> str:
    """Return the way with the least preparation + steps · seconds a step; ``EAGER`` where all failed."""
    total = {way: m.prepare_s + steps_left * m.step_s for way, m in known.items() if not m.error}
    return min(total, key=lambda way: total[way], default=EAGER)


def worth_compiling(known: Iterable[Measured], steps_left: int) -> bool:
    """Whether the steps left could repay a compilation that was not tried yet."""
    best = min((m.step_s for m in known if not m.error), default=0.0)
    return steps_left * best * EXPECTED_GAIN > EXPECTED_COMPILE_S


def shape_key(builder: Builder) -> str:
    """Return what a measurement holds for: device, host, torch, and the shape of the work."""
    cuda = torch.cuda.get_device_name(builder.device) if torch.device(builder.device).type == "cuda" else ""
    config = asdict(builder.config)
    shape = [config[name] for name in SHAPE] + [config[name] > 0 for name in SWITCHES] + [config["label_fraction"] < 1]
    parts = [cuda, platform.node(), platform.processor(), torch.__version__, builder.shape, shape]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def read_measurements(path: Path | None) -> dict[str, Measured]:
    """Return what was measured before; nothing where there is no file, or one that cannot be read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8")) if path else {}
        return {way: Measured(**m) for way, m in found.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def write_measurements(path: Path | None, known: Mapping[str, Measured]) -> None:
    """Keep what was measured; a training whose cache cannot be written goes on without."""
    if path is None:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temp = path.with_suffix(f".{os.getpid()}.tmp")
        temp.write_text(json.dumps({way: asdict(m) for way, m in known.items()}, indent=1), encoding="utf-8")
        os.replace(temp, path)
    except OSError:
        return


class Unchanged:
    """Within the block a step may be tried: weights, moments, pools and random states are put back, in place.

    In place, since a recorded graph writes to these very tensors. Moments that did not exist before become zero, which
    is what Adam starts from.
    """

    def __init__(self, team: Team):
        self.team = team

    def __enter__(self) -> None:
        self.weights = [(tensor, tensor.detach().clone()) for tensor in self._weights()]
        self.moments = {id(tensor): (tensor, tensor.detach().clone()) for tensor in self._moments()}
        self.pools = [pool.state_dict() for pool in self._pools()]
        self.cpu = torch.get_rng_state()
        self.cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []

    @torch.no_grad()
    def __exit__(self, *exc: object) -> None:
        for tensor, value in self.weights:
            tensor.copy_(value)
        for tensor in self._moments():
            if id(tensor) in self.moments:
                tensor.copy_(self.moments[id(tensor)][1])
            else:
                tensor.zero_()
        for pool, state in zip(self._pools(), self.pools, strict=True):
            pool.load_state_dict(state, str(self.weights[0][0].device))
        for optimiser in self.team.optimisers.named().values():
            optimiser.zero_grad(set_to_none=True)
        torch.set_rng_state(self.cpu)
        if self.cuda:
            torch.cuda.set_rng_state_all(self.cuda)

    def _weights(self) -> Iterable[torch.Tensor]:
        for network in self.team.nets.named().values():
            yield from network.parameters()
            yield from network.buffers()

    def _pools(self) -> tuple[ImagePool, ImagePool]:
        return self.team.pools.a, self.team.pools.b

    def _moments(self) -> Iterable[torch.Tensor]:
        for optimiser in self.team.optimisers.named().values():
            for state in optimiser.state.values():
                yield from (value for value in state.values() if isinstance(value, torch.Tensor))


class Recorded:
    """A function of CUDA tensors of fixed shapes, run a few times, recorded as a CUDA graph, and then replayed.

    What it returns is overwritten by the next call.
    """

    def __init__(self, function: Callable[..., Any], *inputs: torch.Tensor):
        self.inputs = [x.clone() for x in inputs]
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):
                function(*self.inputs)
        torch.cuda.current_stream().wait_stream(stream)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.outputs = function(*self.inputs)

    def __call__(self, *inputs: torch.Tensor) -> Any:
        for mine, given in zip(self.inputs, inputs, strict=True):
            mine.copy_(given)
        self.graph.replay()
        return self.outputs


class RecordedStep:
    """The fast step as CUDA graphs: one, or two with the image pools between them, which decide on the CPU.

    Steps with an R1 penalty are another computation and run as they are.
    """

    def __init__(self, fast: FastStep):
        self.fast, self.config, self.team = fast, fast.config, fast.team
        self.whole: Recorded | None = None
        self.halves: tuple[Recorded, Recorded] | None = None
        for optimiser in self.team.optimisers.named().values():
            for group in optimiser.param_groups:  # a graph reads the learning rate from a tensor, and counts on CUDA
                group["lr"] = torch.tensor(float(group["lr"]), device=group["params"][0].device)
                group["capturable"] = True

    def __call__(self, step: int, *batch: torch.Tensor) -> Terms:
        if penalties.r1_is_due(step, self.config.r1_gamma, self.config.r1_every):
            return self.fast(step, *batch)
        if self.whole is None and self.halves is None:
            with Unchanged(self.team):
                self._record(*batch)
        if self.whole is not None:
            return self.whole(*batch)
        assert self.halves is not None
        generators, discriminators = self.halves
        terms, made = generators(*batch[:2])
        pools = self.team.pools
        return terms | discriminators(pools.a.query(made.fake_a), pools.b.query(made.fake_b), *batch)

    def _record(self, *batch: torch.Tensor) -> None:
        def discriminators(fake_a: torch.Tensor, fake_b: torch.Tensor, *batch: torch.Tensor) -> Terms:
            return self.fast.discriminators(Batch(*batch), Translations(fake_a, fake_b), False)

        if self.config.pool_size == 0:
            self.whole = Recorded(lambda *batch: self.fast(1, *batch), *batch)
            return
        generators = Recorded(self.fast.generators, *batch[:2])
        _, made = generators(*batch[:2])
        self.halves = generators, Recorded(discriminators, made.fake_a, made.fake_b, *batch)
