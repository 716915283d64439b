"""A trace of a few training steps by torch.profiler: ``trace.json.gz``, for Perfetto and TensorBoard."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

TRACE = "trace.json.gz"  # in the cell's folder
UPDATES = 6  # optimiser steps that are traced: two steps of a CycleGAN


class StepTrace:
    """Traces from the second block of steps on (the first is a warm-up), up to a number of updates."""

    def __init__(self, path: Path, device: str, updates: int = UPDATES) -> None:
        self.path, self.device, self.updates = path, device, updates
        self.blocks = self.seen = 0

    @contextmanager
    def block(self) -> Iterator[None]:
        """Trace within the block, if it is the second one."""
        self.blocks += 1
        if self.blocks != 2:
            yield
            return
        from torch.optim.optimizer import register_optimizer_step_post_hook
        from torch.profiler import ProfilerActivity, profile

        kinds = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if self.device.startswith("cuda") else [])
        tracer = profile(activities=kinds, record_shapes=True, profile_memory=True)
        tracer.start()
        handle = register_optimizer_step_post_hook(lambda *_: self._updated(tracer))
        try:
            yield
        finally:
            handle.remove()
            if self.seen < self.updates:
                tracer.stop()
            tracer.export_chrome_trace(str(self.path))

    def _updated(self, tracer: Any) -> None:
        self.seen += 1
        if self.seen == self.updates:
            tracer.stop()
