"""The fast step recorded as CUDA graphs, and a snapshot that undoes trial steps.

CUDA graphs: https://pytorch.org/docs/stable/notes/cuda.html#cuda-graphs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch

from tlsgan import penalties
from tlsgan.fast_step import FastStep, Terms, Translations
from tlsgan.image_pool import ImagePool
from tlsgan.step import Batch, TrainState

WARM_UP = 3  # runs before the recording


class Unchanged:
    """Context manager for trial steps: on exit it restores weights, moments, image pools and random states.

    It restores them in place, because a recorded graph writes to these tensors. Moments that were created within the
    block are set to zero, which is Adam's initial value.
    """

    def __init__(self, train_state: TrainState):
        self.train_state = train_state

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
        for optimiser in self.train_state.optimisers.named().values():
            optimiser.zero_grad(set_to_none=True)
        torch.set_rng_state(self.cpu)
        if self.cuda:
            torch.cuda.set_rng_state_all(self.cuda)

    def _weights(self) -> Iterable[torch.Tensor]:
        for network in self.train_state.nets.named().values():
            yield from network.parameters()
            yield from network.buffers()

    def _pools(self) -> tuple[ImagePool, ImagePool]:
        return self.train_state.pools.a, self.train_state.pools.b

    def _moments(self) -> Iterable[torch.Tensor]:
        for optimiser in self.train_state.optimisers.named().values():
            for state in optimiser.state.values():
                yield from (value for value in state.values() if isinstance(value, torch.Tensor))


class Recorded:
    """A function of CUDA tensors with fixed shapes: warmed up, recorded as a CUDA graph, then replayed at each call.

    The next call overwrites the returned tensors.
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
        """Copy the inputs into the graph and replay it; return its outputs."""
        for own, new in zip(self.inputs, inputs, strict=True):
            own.copy_(new)
        self.graph.replay()
        return self.outputs


class RecordedStep:
    """The fast step as CUDA graphs: one graph without image pools, otherwise two.

    With pools the two graphs update the generators and the discriminators. The pools run between them, because they
    decide on the CPU. Steps with an R1 penalty compute something else and run eagerly.
    """

    def __init__(self, fast: FastStep):
        self.fast, self.config, self.train_state = fast, fast.config, fast.train_state
        self.whole: Recorded | None = None
        self.halves: tuple[Recorded, Recorded] | None = None
        for optimiser in self.train_state.optimisers.named().values():
            for group in optimiser.param_groups:  # a graph reads the learning rate from a tensor, and counts on CUDA
                group["lr"] = torch.tensor(float(group["lr"]), device=group["params"][0].device)
                group["capturable"] = True

    def __call__(self, step: int, *batch: torch.Tensor) -> Terms:
        """Update all four networks; return the losses by name. Steps with a penalty are not replayed."""
        if penalties.r1_is_due(step, self.config.r1_gamma, self.config.r1_every):
            return self.fast(step, *batch)
        if self.whole is None and self.halves is None:
            with Unchanged(self.train_state):
                self._record(*batch)
        if self.whole is not None:
            return self.whole(*batch)
        assert self.halves is not None
        generators, discriminators = self.halves
        terms, fakes = generators(*batch[:2])
        pools = self.train_state.pools
        return terms | discriminators(pools.a.query(fakes.fake_a), pools.b.query(fakes.fake_b), *batch)

    def _record(self, *batch: torch.Tensor) -> None:
        def discriminators(fake_a: torch.Tensor, fake_b: torch.Tensor, *batch: torch.Tensor) -> Terms:
            return self.fast.discriminators(Batch(*batch), Translations(fake_a, fake_b), False)

        if self.config.pool_size == 0:
            self.whole = Recorded(lambda *batch: self.fast(1, *batch), *batch)
            return
        generators = Recorded(self.fast.generators, *batch[:2])
        _, fakes = generators(*batch[:2])
        self.halves = generators, Recorded(discriminators, fakes.fake_a, fakes.fake_b, *batch)
